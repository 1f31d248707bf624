package essential

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

const (
	never     = corev1.RestartPolicyNever
	onFailure = corev1.RestartPolicyOnFailure
	always    = corev1.RestartPolicyAlways
)

var (
	anyIgnore = Policies{Completion: CompletionAny, OnFailure: OnFailureIgnore}
	anyStop   = Policies{Completion: CompletionAny, OnFailure: OnFailureStop}
	allIgnore = Policies{Completion: CompletionAll, OnFailure: OnFailureIgnore}
	allStop   = Policies{Completion: CompletionAll, OnFailure: OnFailureStop}
)

func TestOutcomeOf(t *testing.T) {
	main := func(c *containerBuilder) *podBuilder {
		return aPod().policy(never).tracked("main").container("proxy", running()).container("main", c)
	}
	two := func(a, b *containerBuilder) *podBuilder {
		return aPod().policy(never).tracked("a,b").container("a", a).container("b", b).container("proxy", running())
	}
	succeeded := func(name string) Outcome { return Outcome{Phase: corev1.PodSucceeded, By: End{Container: name}} }
	failed := func(name string, code int32) Outcome {
		return Outcome{Phase: corev1.PodFailed, By: End{Container: name, ExitCode: code}}
	}
	hopeless := func(name string, code int32) Outcome {
		return Outcome{Hopeless: true, By: End{Container: name, ExitCode: code}}
	}
	one := []Policies{anyIgnore, anyStop, allIgnore, allStop} // all the same to a single name
	for sentence, tt := range map[string]struct {
		pod      *podBuilder
		policies []Policies
		want     Outcome
	}{
		"it exited with code 0":                    {main(exited(0)), one, succeeded("main")},
		"it was restarted since":                   {main(running().after(0)), one, succeeded("main")},
		"it waits to be restarted":                 {main(waiting().after(0)), one, succeeded("main")},
		"it failed after it had completed":         {main(exited(1).after(0)), one, succeeded("main")},
		"it completed after it had failed":         {main(exited(0).after(137)), one, succeeded("main")},
		"it failed and was restarted":              {main(running().after(2)), one, Outcome{}},
		"it runs":                                  {main(running()), one, Outcome{}},
		"it waits":                                 {main(waiting()), one, Outcome{}},
		"no status yet":                            {aPod().tracked("main"), one, Outcome{}},
		"a sidecar does not count":                 {aPod().policy(never).tracked("main").container("main", running()).container("proxy", exited(0)), one, Outcome{}},
		"nor does a sidecar that failed":           {aPod().policy(never).tracked("main").container("main", running()).container("proxy", exited(1)), one, Outcome{}},
		"nor a container whose name begins alike":  {aPod().tracked("main").container("mai", exited(0)).container("main-2", exited(0)), one, Outcome{}},
		"nor an init container":                    {aPod().tracked("main").initContainer("main", exited(0)), one, Outcome{}},
		"nor an ephemeral one":                     {aPod().tracked("main").ephemeralContainer("main", exited(0)), one, Outcome{}},
		"the reason does not decide":               {main(exited(1).because("Completed")), []Policies{anyStop}, Outcome{Phase: corev1.PodFailed, By: End{Container: "main", ExitCode: 1, Reason: "Completed"}}},
		"nor does it against":                      {main(exited(0).because("Error")), one, Outcome{Phase: corev1.PodSucceeded, By: End{Container: "main", Reason: "Error"}}},
		"a pod that is not tracked":                {aPod().container("main", exited(0)), one, Outcome{}},
		"the label does not stand for the mark":    {aPod().labelled("main").container("main", exited(0)), one, Outcome{}},
		"it failed, and that is ignored":           {main(exited(1)), []Policies{anyIgnore, allIgnore}, hopeless("main", 1)},
		"it failed, and that stops":                {main(exited(1)), []Policies{anyStop, allStop}, failed("main", 1)},
		"it was killed for its memory":             {main(exited(137).because("OOMKilled")), []Policies{anyStop}, Outcome{Phase: corev1.PodFailed, By: End{Container: "main", ExitCode: 137, Reason: "OOMKilled"}}},
		"it could not be started":                  {main(exited(128).because("ContainerCannotRun")), []Policies{allStop}, Outcome{Phase: corev1.PodFailed, By: End{Container: "main", ExitCode: 128, Reason: "ContainerCannotRun"}}},
		"it failed, and is retried":                {main(exited(1)).policy(onFailure), one, Outcome{}},
		"it failed, and is always restarted":       {main(exited(1)).policy(always), one, Outcome{}},
		"no restart policy means Always":           {main(exited(1)).policy(""), one, Outcome{}},
		"the first of two":                         {two(exited(0), running()), []Policies{anyIgnore, anyStop}, succeeded("a")},
		"the second of two":                        {two(running(), exited(0)), []Policies{anyIgnore, anyStop}, succeeded("b")},
		"one of two is not all":                    {two(exited(0), running()), []Policies{allIgnore, allStop}, Outcome{}},
		"one of two without a status":              {aPod().tracked("a,b").container("a", exited(0)), []Policies{allIgnore, allStop}, Outcome{}},
		"both of two, the last decides":            {two(exited(0).at(noon.Add(time.Second)), exited(0).at(noon)), []Policies{allIgnore, allStop}, Outcome{Phase: corev1.PodSucceeded, By: End{Container: "a", At: noon.Add(time.Second)}}},
		"both of two, the first decides":           {two(exited(0).at(noon.Add(time.Second)), exited(0).at(noon)), []Policies{anyIgnore, anyStop}, Outcome{Phase: corev1.PodSucceeded, By: End{Container: "b", At: noon}}},
		"one of two failed, any other may do":      {two(exited(1), running()), []Policies{anyIgnore}, Outcome{}},
		"one of two failed, so it is never all":    {two(exited(1), running()), []Policies{allIgnore}, hopeless("a", 1)},
		"one of two failed, and that stops":        {two(running(), exited(1)), []Policies{anyStop, allStop}, failed("b", 1)},
		"both of two failed, and that is ignored":  {two(exited(1), exited(2)), []Policies{anyIgnore, allIgnore}, hopeless("a", 1)},
		"both of two failed, the first decides":    {two(exited(1).at(noon.Add(time.Second)), exited(2).at(noon)), []Policies{anyStop, allStop}, Outcome{Phase: corev1.PodFailed, By: End{Container: "b", ExitCode: 2, At: noon}}},
		"one completed, then the other failed":     {two(exited(0).at(noon), exited(1).at(noon.Add(time.Second))), []Policies{anyIgnore, anyStop}, Outcome{Phase: corev1.PodSucceeded, By: End{Container: "a", At: noon}}},
		"one failed, then the other completed":     {two(exited(1).at(noon), exited(0).at(noon.Add(time.Second))), []Policies{anyStop, allStop}, Outcome{Phase: corev1.PodFailed, By: End{Container: "a", ExitCode: 1, At: noon}}},
		"the same, and failures are ignored":       {two(exited(1).at(noon), exited(0).at(noon.Add(time.Second))), []Policies{anyIgnore}, Outcome{Phase: corev1.PodSucceeded, By: End{Container: "b", At: noon.Add(time.Second)}}},
		"within one second, completion wins":       {two(exited(1).at(noon), exited(0).at(noon)), []Policies{anyStop}, Outcome{Phase: corev1.PodSucceeded, By: End{Container: "b", At: noon}}},
		"a failure at an unknown time comes last":  {two(exited(137).because("ContainerStatusUnknown"), exited(0).at(noon)), []Policies{anyStop}, Outcome{Phase: corev1.PodSucceeded, By: End{Container: "b", At: noon}}},
		"so it does among failures":                {two(exited(137).because("ContainerStatusUnknown"), exited(1).at(noon)), []Policies{anyStop, allStop}, Outcome{Phase: corev1.PodFailed, By: End{Container: "b", ExitCode: 1, At: noon}}},
		"killed with all others, to start anew":    {main(exited(0).at(noon)).restarting(noon), one, Outcome{}},
		"failed meanwhile":                         {main(exited(137).at(noon)).restarting(noon), one, Outcome{}},
		"failed before, and is restarted with all": {main(exited(1).at(noon.Add(-time.Second))).restarting(noon), one, Outcome{}},
		"completed after all were restarted":       {main(exited(0).at(noon)).conditioned(corev1.AllContainersRestarting, corev1.ConditionFalse, ""), one, Outcome{Phase: corev1.PodSucceeded, By: End{Container: "main", At: noon}}},
		"completed before all were restarted":      {main(exited(0).at(noon.Add(-time.Second))).restarting(noon), one, Outcome{Phase: corev1.PodSucceeded, By: End{Container: "main", At: noon.Add(-time.Second)}}},
	} {
		t.Run(sentence, func(t *testing.T) {
			for _, policies := range tt.policies {
				got := OutcomeOf(tt.pod.build(), policies)
				if tt.want.By.At.IsZero() {
					got.By.At = time.Time{}
				}
				if tt.want.By.Reason == "" {
					got.By.Reason = ""
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%s, %s (-want +got):\n%s", policies.Completion, policies.OnFailure, diff)
				}
			}
		})
	}
}

func TestTheEarlierOfTwoCompletionsCounts(t *testing.T) {
	pod := aPod().tracked("main").container("main", exited(0).because("now").after(0)).build()
	if got := OutcomeOf(pod, anyIgnore).By.Reason; got != "before" {
		t.Errorf("got the completion %q", got)
	}
}

// TestRestarts is the kubelet's table.
func TestRestarts(t *testing.T) {
	in := func(action corev1.ContainerRestartRuleAction, codes ...int32) corev1.ContainerRestartRule {
		return corev1.ContainerRestartRule{Action: action, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: codes}}
	}
	notIn := func(codes ...int32) corev1.ContainerRestartRule {
		return corev1.ContainerRestartRule{Action: "Restart", ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: corev1.ContainerRestartRuleOnExitCodesOpNotIn, Values: codes}}
	}
	own := func(policy corev1.ContainerRestartPolicy, rules ...corev1.ContainerRestartRule) corev1.Container {
		return corev1.Container{Name: "main", RestartPolicy: &policy, RestartPolicyRules: rules}
	}
	for sentence, tt := range map[string]struct {
		pod  *podBuilder
		code int32
		want bool
	}{
		"Never":                                   {aPod().policy(never), 1, false},
		"OnFailure, a failure":                    {aPod().policy(onFailure), 1, true},
		"OnFailure, no failure":                   {aPod().policy(onFailure), 0, false},
		"Always":                                  {aPod().policy(always), 0, true},
		"the container's own Never":               {aPod().policy(always).spec(own("Never")), 1, false},
		"the container's own OnFailure":           {aPod().policy(never).spec(own("OnFailure")), 1, true},
		"the container's own OnFailure, code 0":   {aPod().policy(always).spec(own("OnFailure")), 0, false},
		"the container's own Always":              {aPod().policy(never).spec(own("Always")), 0, true},
		"another container's own does not":        {aPod().policy(never).spec(corev1.Container{Name: "proxy", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}), 1, false},
		"a rule that matches":                     {aPod().policy(never).spec(own("Never", in("Restart", 3, 42))), 42, true},
		"a rule that matches with its first code": {aPod().policy(never).spec(own("Never", in("Restart", 3, 42))), 3, true},
		"a rule that does not":                    {aPod().policy(never).spec(own("Never", in("Restart", 3, 42))), 1, false},
		"a rule for all others":                   {aPod().policy(never).spec(own("Never", notIn(1, 2))), 42, true},
		"a rule for all others, but this":         {aPod().policy(never).spec(own("Never", notIn(1, 2))), 2, false},
		"a rule for code 0":                       {aPod().policy(never).spec(own("Never", in("Restart", 0))), 0, true},
		"a rule that restarts all":                {aPod().policy(never).spec(own("Never", in("RestartAllContainers", 42))), 42, true},
		"the second rule":                         {aPod().policy(never).spec(own("Never", in("Restart", 3), in("Restart", 42))), 42, true},
		"an unknown action hides later rules":     {aPod().policy(never).spec(own("Never", in("Frobnicate", 42), in("Restart", 42))), 42, false},
		"an unknown action leaves the policy":     {aPod().policy(never).spec(own("OnFailure", in("Frobnicate", 42))), 42, true},
		"an unknown operator matches nothing":     {aPod().policy(never).spec(own("Never", corev1.ContainerRestartRule{Action: "Restart", ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: "Above", Values: []int32{1}}})), 1, false},
		"a rule without codes matches nothing":    {aPod().policy(never).spec(own("Never", corev1.ContainerRestartRule{Action: "Restart"})), 1, false},
		"rules without an own policy are void":    {aPod().policy(never).spec(corev1.Container{Name: "main", RestartPolicyRules: []corev1.ContainerRestartRule{in("Restart", 42)}}), 42, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := restarts(tt.pod.build(), "main", tt.code); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestEndsByItself(t *testing.T) {
	for sentence, tt := range map[string]struct {
		pod  *podBuilder
		want bool
	}{
		"all have ended":                        {aPod().policy(never).container("main", exited(0)).container("proxy", exited(1)), true},
		"only native sidecars run":              {aPod().policy(onFailure).container("main", exited(0)).initContainer("mesh", running()), true},
		"one runs":                              {aPod().policy(never).container("main", exited(0)).container("proxy", running()), false},
		"one waits to be started again":         {aPod().policy(never).container("main", exited(0)).container("proxy", waiting().after(1)), false},
		"one failed and is retried":             {aPod().policy(onFailure).container("main", exited(0)).container("proxy", exited(1)), false},
		"all are always restarted":              {aPod().policy(always).container("main", exited(0)), false},
		"all but one, by its own policy":        {aPod().policy(never).container("main", exited(0)).spec(corev1.Container{Name: "main", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}), false},
		"all have ended, but will be restarted": {aPod().policy(never).container("main", exited(0)).restarting(noon), false},
		"no status yet":                         {aPod().policy(never), false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := EndsByItself(tt.pod.build()); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAnEndReadsAsASentence(t *testing.T) {
	for want, end := range map[string]End{
		`Essential container "main" completed with exit code 0`:            {Container: "main", Reason: "Completed"},
		`Essential container "main" failed with exit code 1`:               {Container: "main", ExitCode: 1, Reason: "Error"},
		`Essential container "main" failed with exit code 2`:               {Container: "main", ExitCode: 2},
		`Essential container "main" failed with exit code 137 (OOMKilled)`: {Container: "main", ExitCode: 137, Reason: "OOMKilled"},
	} {
		if got := end.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
