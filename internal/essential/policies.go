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

	"github.com/essential-containers/essential-containers/api"
)

// Forever as a retention means that the pod is not deleted; as a stop-delay, which no
// user can write, that it is not stopped.
const Forever time.Duration = math.MaxInt64

// Policies are what a user may decide about a pod, each by an annotation, and
// the operator for all pods that say nothing.
type Policies struct {
	Completion api.Completion
	OnFailure  api.OnFailure
	// StopDelay is the time between completion (or failure for good) and stop,
	// for sidecars to flush. Not negative.
	StopDelay time.Duration
	// Retention is the time between the end of the last container and the pod's
	// deletion, to read logs; [Forever]: no deletion. Not negative.
	Retention time.Duration
	// Mode matters at the pod's creation only.
	Mode api.Mode
}

// DefaultPolicies are in force where neither user nor operator decides.
func DefaultPolicies() Policies {
	return Policies{Completion: api.CompletionAny, OnFailure: api.OnFailureStop, Mode: api.ModeReap}
}

// OwnAnnotations are the annotations that only the webhook and the reaper write.
var OwnAnnotations = []string{api.TrackedAnnotation, api.DueAnnotation, api.StoppedAnnotation}

// PolicyAnnotations are the annotations that [Policies.Override] reads, in the
// order in which it complains.
var PolicyAnnotations = []string{api.CompletionAnnotation, api.OnFailureAnnotation, api.StopDelayAnnotation, api.RetentionAnnotation, api.ModeAnnotation}

// cautious are the policies with which nothing is lost: a value that cannot be read
// counts as these, whatever the operator's default.
var cautious = Policies{Completion: api.CompletionAll, OnFailure: api.OnFailureIgnore, StopDelay: Forever, Retention: Forever, Mode: api.ModeReap}

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
	case api.CompletionAnnotation:
		return oneOf(&p.Completion, value, api.CompletionAny, api.CompletionAll)
	case api.OnFailureAnnotation:
		return oneOf(&p.OnFailure, value, api.OnFailureStop, api.OnFailureIgnore)
	case api.StopDelayAnnotation:
		return duration(&p.StopDelay, value, "must be a duration such as 90s, 1h30m or 2d")
	case api.RetentionAnnotation:
		if value == api.RetentionForever {
			p.Retention = Forever
			return nil
		}
		return duration(&p.Retention, value, "must be a duration such as 90s, 1h30m or 2d, or "+api.RetentionForever)
	case api.ModeAnnotation:
		return oneOf(&p.Mode, value, api.ModeReap, api.ModeNative)
	default:
		return fmt.Errorf("%s is not a policy", key)
	}
}

// copy takes the policy that belongs to the annotation key from others.
func (p *Policies) copy(key string, from Policies) {
	switch key {
	case api.CompletionAnnotation:
		p.Completion = from.Completion
	case api.OnFailureAnnotation:
		p.OnFailure = from.OnFailure
	case api.StopDelayAnnotation:
		p.StopDelay = from.StopDelay
	case api.RetentionAnnotation:
		p.Retention = from.Retention
	case api.ModeAnnotation:
		p.Mode = from.Mode
	}
}

// Get returns the policy that belongs to the annotation key as Set takes it.
func (p Policies) Get(key string) string {
	switch key {
	case api.CompletionAnnotation:
		return string(p.Completion)
	case api.OnFailureAnnotation:
		return string(p.OnFailure)
	case api.StopDelayAnnotation:
		return p.StopDelay.String()
	case api.RetentionAnnotation:
		if p.Retention == Forever {
			return api.RetentionForever
		}
		return p.Retention.String()
	case api.ModeAnnotation:
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
		if strings.HasPrefix(key, api.AnnotationPrefix) && !slices.Contains(OwnAnnotations, key) && !slices.Contains(PolicyAnnotations, key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	for i, key := range unknown {
		if i == maxListed {
			return append(sentences, "further unknown annotations are ignored too")
		}
		sentences = append(sentences, fmt.Sprintf("%s: unknown annotation, ignored%s", AnnotationPath(parent, shown(key)), didYouMean(api.AnnotationPrefix, policyLike(key))))
	}
	return sentences
}

// policyLike returns the policy, without the prefix, that is most likely meant by
// an unknown key.
func policyLike(key string) string {
	if len(key) > validation.DNS1123LabelMaxLength {
		return ""
	}
	names := make([]string, len(PolicyAnnotations))
	for i, known := range PolicyAnnotations {
		names[i] = strings.TrimPrefix(known, api.AnnotationPrefix)
	}
	return closest(strings.TrimPrefix(key, api.AnnotationPrefix), names)
}

// AnnotationPath is the path of an annotation in an object whose metadata is at
// parent (nil for a pod itself).
func AnnotationPath(parent *field.Path, key string) *field.Path {
	return parent.Child("metadata", "annotations").Key(key)
}

// shown shortens a text that has not been validated, for a message.
func shown(text string) string { return Shorten(text, maxShown) }
