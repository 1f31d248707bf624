// Package api is the contract in Go: the label, the annotations and their values.
// Programs that label pods, or read what webhook and reaper write, import it.
package api

// Keys on pods and namespaces.
const (
	// Label on a pod names its essential containers: one container name, or
	// several joined by [NameSeparator].
	//
	// On a namespace, the same key with the value [NamespaceEnabled] opts the
	// namespace in (the chart's default namespaceSelector).
	Label = "essential-containers"

	// NamespaceEnabled is the value of [Label] on a namespace that opted in.
	NamespaceEnabled = "enabled"

	// NameSeparator joins names in [Label]: no container name can contain it,
	// and unlike a comma it is allowed in a label's value.
	NameSeparator = "_"

	// AnnotationPrefix begins the keys of all annotations.
	AnnotationPrefix = Label + "/"
)

// Annotations that only the webhook and the reaper write.
const (
	// TrackedAnnotation holds the essential containers' names, joined by
	// [TrackedSeparator]. The webhook writes it when it has checked the label, or
	// the reaper when it adopts a pod.
	//
	// The reaper watches every pod with [Label]. It stops and deletes only pods
	// with this annotation; about the others it emits Warning events.
	TrackedAnnotation = AnnotationPrefix + "tracked"

	// TrackedSeparator joins names in [TrackedAnnotation].
	TrackedSeparator = ","

	// DueAnnotation holds the time at which the stop-delay began, and the outcome
	// for which the reaper will stop the pod: "TIME PHASE: REASON".
	DueAnnotation = AnnotationPrefix + "due"

	// StoppedAnnotation holds the time at which the reaper stopped the pod, and the
	// outcome: "TIME PHASE: REASON". The reaper writes it in the request that
	// lowers the pod's activeDeadlineSeconds.
	StoppedAnnotation = AnnotationPrefix + "stopped"
)

// Annotations with which users set a pod's policies.
const (
	CompletionAnnotation = AnnotationPrefix + "completion" // a [Completion]
	OnFailureAnnotation  = AnnotationPrefix + "on-failure" // an [OnFailure]
	StopDelayAnnotation  = AnnotationPrefix + "stop-delay" // a duration such as 90s, 1h30m or 2d
	RetentionAnnotation  = AnnotationPrefix + "retention"  // a duration, or [RetentionForever]
	ModeAnnotation       = AnnotationPrefix + "mode"       // a [Mode]
)

// Completion decides which completions of several essential containers end the pod.
type Completion string

// Values of [CompletionAnnotation].
const (
	CompletionAny Completion = "Any" // the first one
	CompletionAll Completion = "All" // the last one of all
)

// OnFailure decides what happens when an essential container fails and the kubelet
// does not restart it.
type OnFailure string

// Values of [OnFailureAnnotation].
const (
	OnFailureStop   OnFailure = "Stop"   // the reaper stops the pod, which ends as Failed
	OnFailureIgnore OnFailure = "Ignore" // the pod keeps running
)

// RetentionForever as the value of [RetentionAnnotation] means that the reaper does
// not delete the pod.
const RetentionForever = "Forever"

// Mode decides what ends the sidecars.
type Mode string

// Values of [ModeAnnotation].
const (
	ModeReap   Mode = "Reap"   // the reaper, which stops the pod
	ModeNative Mode = "Native" // the kubelet: the webhook makes the sidecars native ones
)

// FailedReason is the status reason of a pod that the reaper stopped as failed,
// and the reason of the events about it.
const FailedReason = "EssentialContainerFailed"
