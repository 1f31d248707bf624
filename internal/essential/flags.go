package essential

import (
	"flag"

	"github.com/essential-containers/essential-containers/api"
)

// policyUsages are the help texts of the flags.
var policyUsages = map[string]string{
	api.CompletionAnnotation: "which completions of several essential containers end a pod, `Any|All`",
	api.OnFailureAnnotation:  "what the reaper does when an essential container fails and is not restarted, `Stop|Ignore`: Stop ends the pod with the phase Failed",
	api.StopDelayAnnotation:  "`time` between completion and stop, for sidecars to flush",
	api.RetentionAnnotation:  "`time` between the pod's end and its deletion, to read logs, or Forever",
	api.ModeAnnotation: "what ends the other containers, `Reap|Native`: the reaper or the kubelet. Native makes them native sidecars, except in\n" +
		"pods that would no longer mean the same",
}

// BindFlags sets the policies to their defaults and adds to fs a flag
// --default-POLICY for each of these annotations.
func (p *Policies) BindFlags(fs *flag.FlagSet, annotations ...string) {
	*p = DefaultPolicies()
	for _, annotation := range annotations {
		fs.Var(policyFlag{p, annotation}, "default-"+annotation[len(api.AnnotationPrefix):],
			policyUsages[annotation]+"; the annotation "+annotation+" of a pod overrides it")
	}
}

// policyFlag is the flag of one policy's default.
type policyFlag struct {
	policies   *Policies
	annotation string
}

func (f policyFlag) Set(value string) error { return f.policies.Set(f.annotation, value) }

func (f policyFlag) String() string {
	if f.policies == nil {
		return "" // the flag package's own zero value
	}
	return f.policies.Get(f.annotation)
}
