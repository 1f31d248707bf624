// Package essential is the contract between the people who label pods, the
// webhook and the reaper: the keys, how they are read, and the facts about a
// pod that both sides must agree on. It does no I/O.
package essential

// The keys of the contract. A key that is written by the webhook or the reaper
// is never taken from a user: see [Label] for the one that users write.
const (
	// Label on a pod names its essential containers: one container name, or
	// several joined by [NameSeparator].
	//
	// On a namespace, the same key with the value [NamespaceEnabled] opts the
	// namespace in (the chart's default namespaceSelector).
	Label = "essential-containers"

	// NamespaceEnabled is the value of [Label] on a namespace that opted in.
	NamespaceEnabled = "enabled"

	// AnnotationPrefix begins the keys of all annotations of the contract.
	AnnotationPrefix = Label + "/"

	// TrackedAnnotation holds the essential containers' names, joined by
	// [TrackedSeparator]. Written by the webhook when it has checked them; the
	// reaper looks at no pod without it.
	TrackedAnnotation = AnnotationPrefix + "tracked"

	// StoppedAnnotation holds the RFC 3339 time of the latest stop. Written by
	// the reaper in the request that sets the terminal phase: the kubelet
	// treats a change of the status alone as something to overwrite, and only
	// an annotation that changes with it makes it read the whole pod again.
	StoppedAnnotation = AnnotationPrefix + "stopped"

	// StoppedCondition is the type of the pod condition that tells people why
	// the reaper stopped the pod, or, while it is False, why it will.
	StoppedCondition = AnnotationPrefix + "Stopped"
)

// The policies that users set on a pod; see [Policies] for their meaning and
// their values.
const (
	CompletionAnnotation = AnnotationPrefix + "completion"
	OnFailureAnnotation  = AnnotationPrefix + "on-failure"
	StopDelayAnnotation  = AnnotationPrefix + "stop-delay"
	RetentionAnnotation  = AnnotationPrefix + "retention"
	ModeAnnotation       = AnnotationPrefix + "mode"
)

const (
	// NameSeparator joins names in [Label]: no container name can contain it,
	// and unlike a comma it is allowed in a label's value.
	NameSeparator = "_"

	// TrackedSeparator joins names in [TrackedAnnotation].
	TrackedSeparator = ","
)
