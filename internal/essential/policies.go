package essential

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Completion says which completions of several essential containers end the pod.
type Completion string

// The first completion, or the last one of all.
const (
	CompletionAny Completion = "Any"
	CompletionAll Completion = "All"
)

// OnFailure says what it means that an essential container failed for good.
type OnFailure string

// The pod is stopped with the phase Failed, or keeps running.
const (
	OnFailureStop   OnFailure = "Stop"
	OnFailureIgnore OnFailure = "Ignore"
)

// Mode says who ends the containers beside the essential ones.
type Mode string

// The reaper, through the API; or the kubelet, for which admission turns them
// into native sidecars.
const (
	ModeReap   Mode = "Reap"
	ModeNative Mode = "Native"
)

// Forever as a retention means that the pod is not deleted; as a stop-delay, which no
// user can write, that it is not stopped.
const Forever time.Duration = math.MaxInt64

// forever is [Forever] as users write it.
const forever = "Forever"

// Policies are what a user may decide about a pod, each by an annotation, and
// the operator for all pods that say nothing.
type Policies struct {
	Completion Completion
	OnFailure  OnFailure
	// StopDelay is the time between completion (or failure for good) and stop,
	// for sidecars to flush. Not negative.
	StopDelay time.Duration
	// Retention is the time between the end of the last container and the pod's
	// deletion, to read logs; [Forever]: no deletion. Not negative.
	Retention time.Duration
	// Mode matters at the pod's creation only.
	Mode Mode
}

// DefaultPolicies are in force where neither user nor operator decides.
func DefaultPolicies() Policies {
	return Policies{Completion: CompletionAny, OnFailure: OnFailureStop, Mode: ModeReap}
}

// PolicyAnnotations are the annotations that [Policies.Override] reads, in the
// order in which it complains.
var PolicyAnnotations = []string{CompletionAnnotation, OnFailureAnnotation, StopDelayAnnotation, RetentionAnnotation, ModeAnnotation}

// cautious are the policies with which nothing is lost: a value that cannot be read
// counts as these, whatever the operator's default.
var cautious = Policies{Completion: CompletionAll, OnFailure: OnFailureIgnore, StopDelay: Forever, Retention: Forever, Mode: ModeReap}

// Override returns the policies of a pod with these annotations, where p are
// the operator's. With a value that cannot be read the pod is neither stopped nor
// deleted sooner than with any other; errs name its path below parent (nil for a
// pod itself) and what is allowed.
func (p Policies) Override(parent *field.Path, annotations map[string]string) (policies Policies, errs field.ErrorList) {
	for _, key := range PolicyAnnotations {
		value, ok := annotations[key]
		if !ok {
			continue
		}
		if err := p.Set(key, value); err != nil {
			errs = append(errs, field.Invalid(AnnotationPath(parent, key), shown(value), err.Error()))
			p.copy(key, cautious)
		}
	}
	return p, errs
}

// Set sets the policy that belongs to the annotation key. The error says what
// is allowed; the policy is as before then.
func (p *Policies) Set(key, value string) error {
	switch key {
	case CompletionAnnotation:
		return oneOf(&p.Completion, value, CompletionAny, CompletionAll)
	case OnFailureAnnotation:
		return oneOf(&p.OnFailure, value, OnFailureStop, OnFailureIgnore)
	case StopDelayAnnotation:
		return duration(&p.StopDelay, value, "must be a duration such as 90s, 1h30m or 2d")
	case RetentionAnnotation:
		if value == forever {
			p.Retention = Forever
			return nil
		}
		return duration(&p.Retention, value, "must be a duration such as 90s, 1h30m or 2d, or "+forever)
	case ModeAnnotation:
		return oneOf(&p.Mode, value, ModeReap, ModeNative)
	default:
		return fmt.Errorf("%s is not a policy", key)
	}
}

// copy takes the policy that belongs to the annotation key from others.
func (p *Policies) copy(key string, from Policies) {
	switch key {
	case CompletionAnnotation:
		p.Completion = from.Completion
	case OnFailureAnnotation:
		p.OnFailure = from.OnFailure
	case StopDelayAnnotation:
		p.StopDelay = from.StopDelay
	case RetentionAnnotation:
		p.Retention = from.Retention
	case ModeAnnotation:
		p.Mode = from.Mode
	}
}

// Get returns the policy that belongs to the annotation key as Set takes it.
func (p Policies) Get(key string) string {
	switch key {
	case CompletionAnnotation:
		return string(p.Completion)
	case OnFailureAnnotation:
		return string(p.OnFailure)
	case StopDelayAnnotation:
		return p.StopDelay.String()
	case RetentionAnnotation:
		if p.Retention == Forever {
			return forever
		}
		return p.Retention.String()
	case ModeAnnotation:
		return string(p.Mode)
	default:
		return ""
	}
}

func oneOf[T ~string](policy *T, value string, allowed ...T) error {
	if !slices.Contains(allowed, T(value)) {
		return fmt.Errorf("must be %s or %s", allowed[0], allowed[1])
	}
	*policy = T(value)
	return nil
}

func duration(policy *time.Duration, value, must string) error {
	d, err := parseDuration(value)
	switch {
	case err != nil:
		return fmt.Errorf("%s", must)
	case d < 0:
		return fmt.Errorf("must not be negative")
	}
	*policy = d
	return nil
}

// maxDuration bounds the text of a duration, in bytes: all units fit in. The reaper
// keeps no more of an annotation than a fixed length, and must not read another
// duration than admission did.
const maxDuration = 128

// parseDuration reads what [time.ParseDuration] does, and whole days before that.
func parseDuration(text string) (time.Duration, error) {
	const day = 24 * time.Hour
	if len(text) > maxDuration {
		return 0, fmt.Errorf("longer than %d bytes", maxDuration)
	}
	number, rest, ok := strings.Cut(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	days, err := strconv.ParseUint(number, 10, 16)
	if err != nil || rest == "" {
		return time.Duration(days) * day, err
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d >= day {
		return 0, fmt.Errorf("%q is less than a day in no unit", rest)
	}
	return time.Duration(days)*day + d, nil
}

// UnknownAnnotations returns one sentence for each annotation that looks like
// one of the contract's and is not: most likely mistyped, and without effect.
func UnknownAnnotations(parent *field.Path, annotations map[string]string) (sentences []string) {
	var unknown []string
	for key := range annotations {
		if strings.HasPrefix(key, AnnotationPrefix) && !slices.Contains(OwnAnnotations, key) && !slices.Contains(PolicyAnnotations, key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	for i, key := range unknown {
		if i == maxListed {
			return append(sentences, "further unknown annotations are ignored too")
		}
		sentences = append(sentences, fmt.Sprintf("%s: unknown annotation, ignored%s", AnnotationPath(parent, shown(key)), didYouMean(AnnotationPrefix, policyLike(key))))
	}
	return sentences
}

// policyLike returns the policy, without the AnnotationPrefix, that is most likely meant by
// an unknown key.
func policyLike(key string) string {
	if len(key) > validation.DNS1123LabelMaxLength {
		return ""
	}
	names := make([]string, len(PolicyAnnotations))
	for i, known := range PolicyAnnotations {
		names[i] = strings.TrimPrefix(known, AnnotationPrefix)
	}
	return closest(strings.TrimPrefix(key, AnnotationPrefix), names)
}

// AnnotationPath is where an annotation stands in an object whose metadata is at
// parent (nil for a pod itself).
func AnnotationPath(parent *field.Path, key string) *field.Path {
	return parent.Child("metadata", "annotations").Key(key)
}

// shown bounds what a message repeats of a text that nobody has validated.
func shown(text string) string { return Shorten(text, maxShown) }
