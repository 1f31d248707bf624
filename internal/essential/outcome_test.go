package essential

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/api"
)

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

const (
	never     = corev1.RestartPolicyNever
	onFailure = corev1.RestartPolicyOnFailure
	always    = corev1.RestartPolicyAlways
)

var (
	anyIgnore = Policies{Completion: api.CompletionAny, OnFailure: api.OnFailureIgnore}
	anyStop   = Policies{Completion: api.CompletionAny, OnFailure: api.OnFailureStop}
	allIgnore = Policies{Completion: api.CompletionAll, OnFailure: api.OnFailureIgnore}
	allStop   = Policies{Completion: api.CompletionAll, OnFailure: api.OnFailureStop}
)

func TestOutcomeOf(t *testing.T) {
	main := func(c *containerBuilder) *podBuilder {
		return aPod().policy(never).tracked("main").container("proxy", running()).container("main", c)
	}
	two := func(a, b *containerBuilder) *podBuilder {
		return aPod().policy(never).tracked("a,b").container("a", a).container("b", b).container("proxy", running())
	}
	own := func(policy corev1.ContainerRestartPolicy, rules ...corev1.ContainerRestartRule) corev1.Container {
		return corev1.Container{Name: "main", RestartPolicy: &policy, RestartPolicyRules: rules}
	}
	succeeded := func(name string) Outcome {
		return Outcome{Phase: corev1.PodSucceeded, Because: End{Container: name}.String()}
	}
	failed := func(name string, code int32) Outcome {
		return Outcome{Phase: corev1.PodFailed, Because: End{Container: name, ExitCode: code}.String()}
	}
	hopeless := func(name string, code int32) Outcome {
		return Outcome{FailureIgnored: true, Because: End{Container: name, ExitCode: code}.String()}
	}
	killed := func(reason string, code int32) Outcome {
		return Outcome{Phase: corev1.PodFailed, Because: End{Container: "main", ExitCode: code, Reason: reason}.String()}
	}
	one := []Policies{anyIgnore, anyStop, allIgnore, allStop} // all the same to a single name
	for sentence, tt := range map[string]struct {
		pod      *podBuilder
		policies []Policies
		want     Outcome
	}{
		"it exited with code 0":                   {main(exited(0)), one, succeeded("main")},
		"it completed after it had failed":        {main(exited(0).after(137)), one, succeeded("main")},
		"it failed and was restarted":             {main(running().after(2)).policy(onFailure), one, Outcome{}},
		"it runs":                                 {main(running()), one, Outcome{}},
		"it waits":                                {main(waiting()), one, Outcome{}},
		"no status yet":                           {aPod().tracked("main"), one, Outcome{}},
		"a sidecar does not count":                {aPod().policy(never).tracked("main").container("main", running()).container("proxy", exited(0)), one, Outcome{}},
		"a sidecar that failed does not count":    {aPod().policy(never).tracked("main").container("main", running()).container("proxy", exited(1)), one, Outcome{}},
		"a container with a similar name":         {aPod().tracked("main").container("mai", exited(0)).container("main-2", exited(0)), one, Outcome{}},
		"an init container of that name":          {aPod().tracked("main").initContainer("main", exited(0)), one, Outcome{}},
		"an ephemeral container of that name":     {aPod().tracked("main").ephemeralContainer("main", exited(0)), one, Outcome{}},
		"exit code 1 with the reason Completed":   {main(exited(1).because("Completed")), []Policies{anyStop}, killed("Completed", 1)},
		"exit code 0 with the reason Error":       {main(exited(0).because("Error")), one, succeeded("main")},
		"a pod that is not tracked":               {aPod().container("main", exited(0)), one, Outcome{}},
		"a pod that is only labelled":             {aPod().labelled("main").container("main", exited(0)), one, Outcome{}},
		"it failed, and that is ignored":          {main(exited(1)), []Policies{anyIgnore, allIgnore}, hopeless("main", 1)},
		"it failed, and that stops":               {main(exited(1)), []Policies{anyStop, allStop}, failed("main", 1)},
		"it was killed for its memory":            {main(exited(137).because("OOMKilled")), []Policies{anyStop}, killed("OOMKilled", 137)},
		"it could not be started":                 {main(exited(128).because("ContainerCannotRun")), []Policies{allStop}, killed("ContainerCannotRun", 128)},
		"it failed, and is retried":               {main(exited(1)).policy(onFailure), one, Outcome{}},
		"it failed, and is always restarted":      {main(exited(1)).policy(always), one, Outcome{}},
		"no restart policy means Always":          {main(exited(1)).policy(""), one, Outcome{}},
		"the first of two":                        {two(exited(0), running()), []Policies{anyIgnore, anyStop}, succeeded("a")},
		"the second of two":                       {two(running(), exited(0)), []Policies{anyIgnore, anyStop}, succeeded("b")},
		"one of two is not all":                   {two(exited(0), running()), []Policies{allIgnore, allStop}, Outcome{}},
		"one of two without a status":             {aPod().tracked("a,b").container("a", exited(0)), []Policies{allIgnore, allStop}, Outcome{}},
		"both of two, the last decides":           {two(exited(0).at(noon.Add(time.Second)), exited(0).at(noon)), []Policies{allIgnore, allStop}, succeeded("a")},
		"both of two, the first decides":          {two(exited(0).at(noon.Add(time.Second)), exited(0).at(noon)), []Policies{anyIgnore, anyStop}, succeeded("b")},
		"one of two failed, any other may do":     {two(exited(1), running()), []Policies{anyIgnore}, Outcome{}},
		"one of two failed, so it is never all":   {two(exited(1), running()), []Policies{allIgnore}, hopeless("a", 1)},
		"one of two failed, and that stops":       {two(running(), exited(1)), []Policies{anyStop, allStop}, failed("b", 1)},
		"both of two failed, and that is ignored": {two(exited(1), exited(2)), []Policies{anyIgnore, allIgnore}, hopeless("a", 1)},
		"both of two failed, the first decides":   {two(exited(1).at(noon.Add(time.Second)), exited(2).at(noon)), []Policies{anyStop, allStop}, failed("b", 2)},
		"one completed, then the other failed":    {two(exited(0).at(noon), exited(1).at(noon.Add(time.Second))), []Policies{anyIgnore, anyStop}, succeeded("a")},
		"one failed, then the other completed":    {two(exited(1).at(noon), exited(0).at(noon.Add(time.Second))), []Policies{anyStop, allStop}, failed("a", 1)},
		"the same, and failures are ignored":      {two(exited(1).at(noon), exited(0).at(noon.Add(time.Second))), []Policies{anyIgnore}, succeeded("b")},
		"within one second, completion wins":      {two(exited(1).at(noon), exited(0).at(noon)), []Policies{anyStop}, succeeded("b")},
		"a failure at an unknown time comes last": {two(exited(137).because("ContainerStatusUnknown"), exited(0).at(noon)), []Policies{anyStop}, succeeded("b")},
		"also among failures":                     {two(exited(137).because("ContainerStatusUnknown"), exited(1).at(noon)), []Policies{anyStop, allStop}, failed("b", 1)},

		// The kubelet restarts containers for reasons of its own (design, section 5).
		"OnFailure, the kubelet killed it with exit code 0 and restarted it":    {main(running().after(0)).policy(onFailure), one, Outcome{}},
		"OnFailure, the kubelet killed it with exit code 0 and will restart it": {main(waiting().after(0)).policy(onFailure), one, Outcome{}},
		"OnFailure, it failed after such a restart":                             {main(exited(1).after(0)).policy(onFailure), one, Outcome{}},
		"OnFailure, it completed after such a restart":                          {main(exited(0).after(0)).policy(onFailure), one, succeeded("main")},
		"Never, the kubelet started it again in a new sandbox":                  {main(running().after(0)), one, Outcome{}},
		"Never, it failed after such a restart":                                 {main(exited(1).after(0)), []Policies{anyStop, allStop}, failed("main", 1)},
		"its own OnFailure below Always, and it was restarted":                  {main(running().after(0)).policy(always).spec(own("OnFailure")), one, Outcome{}},
		"its own OnFailure below Always, and it exited with code 0":             {main(exited(0)).policy(always).spec(own("OnFailure")), one, succeeded("main")},
		"Always, it was restarted":                                              {main(running().after(0)).policy(always), one, succeeded("main")},
		"Always, it waits to be restarted":                                      {main(waiting().after(0)).policy(always), one, succeeded("main")},
		"Always, it has just exited with code 0":                                {main(exited(0)).policy(always), one, succeeded("main")},
		"Always, it failed after it had completed":                              {main(exited(1).after(0)).policy(always), one, succeeded("main")},
		"its own Always below Never":                                            {main(running().after(0)).spec(own("Always")), one, succeeded("main")},
		"a rule restarts it after exit code 0":                                  {main(exited(0)).spec(own("Never", in("Restart", 0))), one, Outcome{}},
		"a rule restarts it after exit code 0, and it was restarted":            {main(running().after(0)).policy(always).spec(own("Always", in("Restart", 0))), one, Outcome{}},
		"a rule restarts all containers after exit code 0":                      {main(exited(0)).spec(own("Never", in("RestartAllContainers", 0))), one, Outcome{}},
		"a rule restarts it after a failure":                                    {main(exited(0)).spec(own("Never", in("Restart", 42))), one, succeeded("main")},
		"a rule restarts it after this failure":                                 {main(exited(42)).spec(own("Never", in("Restart", 42))), one, Outcome{}},
		"a rule with an unknown action hides the one that restarts it after 0":  {main(exited(0)).spec(own("Never", in("Frobnicate", 0), in("Restart", 0))), one, succeeded("main")},
		"killed with all others, to start again":                                {main(exited(0).at(noon)).restarting(noon), one, Outcome{}},
		"failed while all are restarted":                                        {main(exited(137).at(noon)).restarting(noon), one, Outcome{}},
		"failed before, and is restarted with all":                              {main(exited(1).at(noon.Add(-time.Second))).restarting(noon), one, Outcome{}},
		"completed after all were restarted":                                    {main(exited(0).at(noon)).conditioned(corev1.AllContainersRestarting, corev1.ConditionFalse, ""), one, succeeded("main")},
		"completed before all were restarted":                                   {main(exited(0).at(noon.Add(-time.Second))).restarting(noon), one, succeeded("main")},
	} {
		t.Run(sentence, func(t *testing.T) {
			for _, policies := range tt.policies {
				if diff := cmp.Diff(tt.want, OutcomeOf(tt.pod.build(), policies)); diff != "" {
					t.Errorf("%s, %s (-want +got):\n%s", policies.Completion, policies.OnFailure, diff)
				}
			}
		})
	}
}

// An end from outside counts from the moment at which it began; all times are
// whole seconds, so an end within the same second does not count (design,
// section 5, and the point 1).
func TestAnEndFromOutside(t *testing.T) {
	const grace = 30
	begin := noon
	deleted := func(b *podBuilder) *podBuilder { return b.deleted(begin.Add(grace*time.Second), new(int64(grace))) }
	deadline := func(b *podBuilder) *podBuilder { return b.started(begin.Add(-time.Minute)).deadline(60) }
	disrupted := func(reason string) func(*podBuilder) *podBuilder {
		return func(b *podBuilder) *podBuilder { return b.disrupted(corev1.ConditionTrue, reason, begin) }
	}
	ended := func(phase corev1.PodPhase, reason string) func(*podBuilder) *podBuilder {
		return func(b *podBuilder) *podBuilder { return b.phase(phase).reason(reason) }
	}
	before, same, after := begin.Add(-time.Second), begin, begin.Add(time.Second)
	type ends map[time.Time]bool // by when main exited with code 0: whether that is a completion
	for sentence, tt := range map[string]struct {
		outside func(*podBuilder) *podBuilder
		want    ends
	}{
		"nothing ends the pod":                       {func(b *podBuilder) *podBuilder { return b }, ends{before: true, same: true, after: true}},
		"a deletion":                                 {deleted, ends{before: true, same: false, after: false}},
		"a deletion without a grace period":          {func(b *podBuilder) *podBuilder { return b.deleted(begin, new(int64(0))) }, ends{before: true, same: false, after: false}},
		"a deletion whose grace period is not known": {func(b *podBuilder) *podBuilder { return b.deleted(begin, nil) }, ends{before: true, same: false, after: false}},
		"the pod's own deadline":                     {deadline, ends{before: true, same: false, after: false}},
		"the pod's own deadline, and its reason": {
			func(b *podBuilder) *podBuilder { return ended(corev1.PodFailed, "DeadlineExceeded")(deadline(b)) }, ends{before: true, same: false, after: false}},
		"a deadline of a pod that has not started": {func(b *podBuilder) *podBuilder { return b.deadline(60) }, ends{before: true, same: true, after: true}},
		"an eviction through the API":              {disrupted("EvictionByEvictionAPI"), ends{before: true, same: false, after: false}},
		"a preemption by the scheduler":            {disrupted("PreemptionByScheduler"), ends{before: true, same: false, after: false}},
		"a taint":                                  {disrupted("DeletionByTaintManager"), ends{before: true, same: false, after: false}},
		"a lost node":                              {disrupted("DeletionByPodGC"), ends{before: true, same: false, after: false}},
		"a disruption that is over": {
			func(b *podBuilder) *podBuilder {
				return b.disrupted(corev1.ConditionFalse, "PreemptionByScheduler", begin)
			}, ends{before: true, same: true, after: true}},
		"the kubelet itself, whose condition says when all containers had ended": {
			disrupted("TerminationByKubelet"), ends{before: false, same: false, after: false}},
		"node pressure, without a condition":      {ended(corev1.PodFailed, "Evicted"), ends{before: false, same: false, after: false}},
		"a shutdown, without a condition":         {ended(corev1.PodFailed, "Terminated"), ends{before: false, same: false, after: false}},
		"a reason while the pod runs":             {ended(corev1.PodRunning, "Anything"), ends{before: true, same: true, after: true}},
		"an end by itself: Failed, but no reason": {ended(corev1.PodFailed, ""), ends{before: true, same: true, after: true}},
		"node pressure after an eviction through the API": {
			func(b *podBuilder) *podBuilder {
				return ended(corev1.PodFailed, "Evicted")(disrupted("EvictionByEvictionAPI")(b))
			}, ends{before: false, same: false, after: false}},
		"a deletion, and an earlier disruption": {
			func(b *podBuilder) *podBuilder {
				return disrupted("PreemptionByScheduler")(b.deleted(begin.Add(90*time.Second), new(int64(grace))))
			}, ends{before: true, same: false, after: false}},
		"a deletion, and a later deadline": {
			func(b *podBuilder) *podBuilder { return deleted(b).started(begin).deadline(60) }, ends{before: true, same: false, after: false}},
	} {
		t.Run(sentence, func(t *testing.T) {
			for at, counts := range tt.want {
				for _, code := range []int32{0, 1} {
					pod := tt.outside(aPod().policy(never).tracked("main").container("main", exited(code).at(at)).container("proxy", running())).build()
					want := Outcome{}
					if counts {
						want = Outcome{Phase: map[int32]corev1.PodPhase{0: corev1.PodSucceeded, 1: corev1.PodFailed}[code], Because: End{Container: "main", ExitCode: code}.String()}
					}
					if diff := cmp.Diff(want, OutcomeOf(pod, anyStop)); diff != "" {
						t.Errorf("exit code %d %s (-want +got):\n%s", code, at.Sub(begin), diff)
					}
				}
				restarted := running().after(0)
				restarted.last.Terminated.FinishedAt = metav1.NewTime(at)
				pod := tt.outside(aPod().policy(always).tracked("main").container("main", restarted)).build()
				if got := OutcomeOf(pod, anyStop).Phase == corev1.PodSucceeded; got != counts {
					t.Errorf("Always, exit code 0 in the last state %s: %v, want %v", at.Sub(begin), got, counts)
				}
			}
			unknown := tt.outside(aPod().policy(never).tracked("main").container("main", exited(0)).container("proxy", running())).build()
			if got := OutcomeOf(unknown, anyStop).Phase == corev1.PodSucceeded; got != tt.want[after] {
				t.Errorf("exit code 0 at an unknown time: %v, want %v", got, tt.want[after])
			}
		})
	}
}

// A record is final, whatever happens to the containers and to the pod afterwards,
// unless the order of events is unknown.
func TestARecordDecides(t *testing.T) {
	const because = "What was recorded"
	succeeded, failed := Outcome{Phase: corev1.PodSucceeded, Because: because}, Outcome{Phase: corev1.PodFailed, Because: because}
	record := func(phase corev1.PodPhase) string { return Record{At: noon, Phase: phase, Because: because}.String() }
	main := func(c *containerBuilder) *podBuilder {
		return aPod().policy(never).tracked("main").container("main", c)
	}
	for sentence, tt := range map[string]struct {
		pod  *podBuilder
		want Outcome
	}{
		"a delay, and main runs":              {main(running()).annotated(api.DueAnnotation, record("Succeeded")), succeeded},
		"a delay, and main fails":             {main(exited(1)).annotated(api.DueAnnotation, record("Succeeded")), succeeded},
		"a delay of a failure":                {main(exited(0)).annotated(api.DueAnnotation, record("Failed")), failed},
		"a stop, and main runs":               {main(running()).annotated(api.StoppedAnnotation, record("Succeeded")), succeeded},
		"a stop as failed, and main exits 0":  {main(exited(0)).annotated(api.StoppedAnnotation, record("Failed")), failed},
		"a stop goes before a delay":          {main(running()).annotated(api.StoppedAnnotation, record("Failed")).annotated(api.DueAnnotation, record("Succeeded")), failed},
		"a delay, then a deletion":            {main(running()).annotated(api.DueAnnotation, record("Succeeded")).deleted(noon.Add(-time.Hour), nil), succeeded},
		"a delay, then the pod's deadline":    {main(running()).annotated(api.DueAnnotation, record("Succeeded")).started(noon.Add(-time.Hour)).deadline(60), succeeded},
		"a delay, then a preemption":          {main(running()).annotated(api.DueAnnotation, record("Succeeded")).disrupted("True", "PreemptionByScheduler", noon), succeeded},
		"a delay, then node pressure":         {main(exited(0)).annotated(api.DueAnnotation, record("Succeeded")).disrupted("True", "TerminationByKubelet", noon), Outcome{}},
		"a stop, and its deadline":            {main(exited(0).at(noon)).annotated(api.StoppedAnnotation, record("Succeeded")).started(noon.Add(-time.Hour)).deadline(1).phase("Failed").reason("DeadlineExceeded"), succeeded},
		"a stop, then a shutdown of the node": {main(exited(0)).annotated(api.StoppedAnnotation, record("Succeeded")).phase("Failed").reason("Terminated"), Outcome{}},
		"garbage is no record":                {main(running()).annotated(api.StoppedAnnotation, "yesterday").annotated(api.DueAnnotation, "soon"), Outcome{}},
		"the delay of an old version":         {main(running()).old(corev1.ConditionFalse, "EssentialContainerCompleted", because), succeeded},
		"the stop of an old version":          {main(running()).old(corev1.ConditionTrue, "EssentialContainerCompleted", because).annotated(api.StoppedAnnotation, "2030-01-02T12:00:00.001Z"), succeeded},
		"the failure of an old version":       {main(exited(0)).old(corev1.ConditionTrue, "EssentialContainerFailed", because), failed},
	} {
		t.Run(sentence, func(t *testing.T) {
			for _, policies := range []Policies{anyIgnore, anyStop, allIgnore, allStop} {
				if diff := cmp.Diff(tt.want, OutcomeOf(tt.pod.build(), policies)); diff != "" {
					t.Errorf("%s, %s (-want +got):\n%s", policies.Completion, policies.OnFailure, diff)
				}
			}
		})
	}
}

func in(action corev1.ContainerRestartRuleAction, codes ...int32) corev1.ContainerRestartRule {
	return corev1.ContainerRestartRule{Action: action, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: codes}}
}

// TestIsRestarted is the kubelet's table.
func TestIsRestarted(t *testing.T) {
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
			if got := isRestarted(tt.pod.build(), "main", tt.code); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestHasEndedForGood(t *testing.T) {
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
			if got := HasEndedForGood(tt.pod.build()); got != tt.want {
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
