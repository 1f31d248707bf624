// Package essential is the contract between users who label pods, the webhook
// and the reaper: the keys, how they are read, and the facts about a pod that
// webhook and reaper must agree on. It does no I/O.
package essential

// The keys of the contract.
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
	// [TrackedSeparator]. The webhook writes it when it has checked them, or the
	// reaper when it adopts a pod.
	TrackedAnnotation = AnnotationPrefix + "tracked"

	// DueAnnotation holds a [Record]: the outcome for which the pod is stopped
	// when its stop-delay is over, and when the delay began. The reaper writes it.
	DueAnnotation = AnnotationPrefix + "due"

	// StoppedAnnotation holds a [Record]: when the reaper stopped the pod, and as
	// what. The reaper writes it in the request that lowers the pod's deadline.
	StoppedAnnotation = AnnotationPrefix + "stopped"
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

// OwnAnnotations are the annotations that the webhook and the reaper write. No
// other user may.
var OwnAnnotations = []string{TrackedAnnotation, DueAnnotation, StoppedAnnotation}

const (
	// NameSeparator joins names in [Label]: no container name can contain it,
	// and unlike a comma it is allowed in a label's value.
	NameSeparator = "_"

	// TrackedSeparator joins names in [TrackedAnnotation].
	TrackedSeparator = ","
)

// FailedReason is the status reason of a pod that the reaper stopped as failed,
// and the reason of the events about it.
const FailedReason = "EssentialContainerFailed"
