//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// nativeMeaning are the rows of the table in docs/native.md: the same pod in
// both modes, and what differs.
var nativeMeaning = map[string]func(*testing.T){
	"StartOrder":            testNativeStartOrder,
	"SidecarCannotStart":    testNativeSidecarCannotStart,
	"HelperThatEnds":        testNativeHelperThatEnds,
	"SidecarFailsFirst":     testNativeSidecarFailsFirst,
	"OwnRestartPolicies":    testNativeOwnRestartPolicies,
	"StopOrder":             testNativeStopOrder,
	"SharedGracePeriod":     testNativeSharedGracePeriod,
	"Evicted":               testNativeEvicted,
	"Sums":                  testNativeSums,
	"QuotaDuringTheStop":    testNativeQuotaDuringTheStop,
	"KubectlDefaults":       testNativeKubectlDefaults,
	"HostPorts":             testNativeHostPorts,
	"ServiceOfASidecar":     testNativeServiceOfASidecar,
	"RestrictedPodsOfUsers": testNativeRestrictedPodsOfUsers,
}

const (
	reap   = string(api.ModeReap)
	native = string(api.ModeNative)
)

var modes = []string{reap, native}

// twin is a pod of the template in a mode, kept for its logs.
func (f *fixture) twin(mode string, template corev1.PodTemplateSpec) *corev1.Pod {
	template = annotated(*template.DeepCopy(), api.ModeAnnotation, mode, api.RetentionAnnotation, "Forever")
	return kube.Pod(f.namespace, strings.ToLower(mode), template)
}

// twins creates the pod of the template in both modes.
func (f *fixture) twins(template corev1.PodTemplateSpec) (inReap, inNative *corev1.Pod) {
	f.Helper()
	inReap, inNative = f.twin(reap, template), f.twin(native, template)
	f.create(inReap)
	f.create(inNative)
	return inReap, inNative
}

// said waits for a line of a container.
func (f *fixture) said(pod *corev1.Pod, container, text string) (line kube.Line) {
	f.Helper()
	f.must(kube.Await(f.ctx, timeLimit, func(context.Context) (bool, string) {
		for _, l := range f.logs.Find(pod.Name, text) {
			if l.Container == container {
				line = l
				return true, ""
			}
		}
		return false, fmt.Sprintf("%s/%s does not say %q", pod.Name, container, text)
	}))
	return line
}

// inOrder asserts that the lines were said one after the other.
func (f *fixture) inOrder(lines ...kube.Line) {
	f.Helper()
	for i := 1; i < len(lines); i++ {
		if a, b := lines[i-1], lines[i]; !a.Time.Before(b.Time) {
			f.Errorf("%s/%s says %q at %s, not before %s says %q at %s", a.Pod, a.Container, a.Text, a.Time, b.Container, b.Text, b.Time)
		}
	}
}

// statusOf is containerStatus, or an empty one as long as there is none.
func statusOf(pod *corev1.Pod, name string) corev1.ContainerStatus {
	if status := containerStatus(pod, name); status != nil {
		return *status
	}
	return corev1.ContainerStatus{}
}

// onTerm is a sidecar that runs a script when it gets SIGTERM, and then ends.
func onTerm(name, script string) corev1.Container {
	c := kube.Sidecar(name)
	c.Command[2] = strings.Replace(c.Command[2], "exit 143", script+"; exit 143", 1)
	return c
}

func ready(command ...string) corev1.ProbeHandler {
	return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: command}}
}

func share(template *corev1.PodTemplateSpec) {
	template.Spec.Volumes = []corev1.Volume{{Name: "shared", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	for i := range template.Spec.Containers {
		template.Spec.Containers[i].VolumeMounts = []corev1.VolumeMount{{Name: "shared", MountPath: "/shared"}}
	}
}

// Sidecars start in order, each when the one before has started by its probe,
// and main after all of them.
func testNativeStartOrder(t *testing.T) {
	f := newFixture(t, true)
	slow := kube.Sidecar("slow")
	slow.Command[2] = strings.Replace(slow.Command[2], "while true", "sleep 2; echo ready; touch /ready; while true", 1)
	slow.StartupProbe = &corev1.Probe{ProbeHandler: ready("test", "-e", "/ready"), PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 300}
	inReap, inNative := f.twins(kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1"), slow, kube.Sidecar("late")))
	f.inOrder(f.said(inNative, "slow", kube.SidecarStart), f.said(inNative, "slow", "ready"),
		f.said(inNative, "late", kube.SidecarStart), f.said(inNative, "main", kube.MainStart))
	f.inOrder(f.said(inReap, "main", kube.MainStart), f.said(inReap, "slow", kube.SidecarStart), f.said(inReap, "slow", "ready"))
}

// A sidecar that cannot start keeps main from starting, and so does one whose
// startup probe waits for main. In mode Reap, in contrast, main runs and completes.
func testNativeSidecarCannotStart(t *testing.T) {
	f := newFixture(t, true)
	absent := kube.Sidecar("proxy")
	absent.Image, absent.ImagePullPolicy = "example.com/there-is-no-such-image:1", corev1.PullNever
	crashing := kube.Sidecar("proxy")
	crashing.Command[2] = "exit 1"
	// Without it the kubelet may see it running for once, and continue.
	crashing.StartupProbe = &corev1.Probe{ProbeHandler: ready("true"), InitialDelaySeconds: 5, FailureThreshold: 3}
	waiting := kube.Sidecar("proxy")
	waiting.StartupProbe = &corev1.Probe{ProbeHandler: ready("test", "-e", "/shared/main"), PeriodSeconds: 1, FailureThreshold: 3, TerminationGracePeriodSeconds: new(int64(1))}
	for name, c := range map[string]struct {
		sidecar corev1.Container
		seen    func(corev1.ContainerStatus) bool
	}{
		"absent": {absent, func(c corev1.ContainerStatus) bool {
			return c.State.Waiting != nil && c.State.Waiting.Reason == "ErrImageNeverPull"
		}},
		"crashing": {crashing, func(c corev1.ContainerStatus) bool { return c.RestartCount >= 2 }},
		"waiting":  {waiting, func(c corev1.ContainerStatus) bool { return c.RestartCount >= 1 }},
	} {
		template := kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("touch /shared/main; sleep 1"), c.sidecar)
		share(&template)
		inReap, inNative := f.twin(reap, template), f.twin(native, template)
		inReap.Name, inNative.Name = name+"-reap", name+"-native"
		f.create(inReap)
		f.create(inNative)
		await(f, inReap, "through with main", func(p *corev1.Pod) bool {
			main := statusOf(p, "main").State.Terminated
			return main != nil && main.ExitCode == 0
		})
		await(f, inNative, "held up by its sidecar", func(p *corev1.Pod) bool { return c.seen(statusOf(p, "proxy")) })
		if main := statusOf(inNative, "main"); main.State.Waiting == nil || inNative.Status.Phase != corev1.PodPending {
			t.Errorf("%s: phase %s, main %+v", name, inNative.Status.Phase, main.State)
		}
		f.count(inNative.Name, kube.MainStart, 0)
	}
}

// A sidecar that ends by itself is started again, whatever the pod's policy.
func testNativeHelperThatEnds(t *testing.T) {
	f := newFixture(t, true)
	helper := kube.Main("true")
	helper.Name = "helper"
	inReap, inNative := f.twins(kube.Template(corev1.RestartPolicyNever, new("main"), kube.Sidecar("main"), helper))
	await(f, inNative, "restarting its helper", func(p *corev1.Pod) bool { return statusOf(p, "helper").RestartCount >= 2 })
	await(f, inReap, "through with its helper", func(p *corev1.Pod) bool { return statusOf(p, "helper").State.Terminated != nil })
	if helper := statusOf(inReap, "helper"); helper.RestartCount != 0 {
		t.Errorf("in mode Reap the helper was restarted: %+v", helper)
	}
	f.canary(f.namespace)
	f.notReaped(inReap)
	f.notReaped(inNative)
}

// Under Never a sidecar that fails before main completes has no effect on the phase. In mode
// Native it is also started again.
func testNativeSidecarFailsFirst(t *testing.T) {
	f := newFixture(t, true)
	failing := kube.Main("sleep 1; exit 1")
	failing.Name = "failing"
	inReap, inNative := f.twins(kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 6"), failing))
	for _, pod := range []*corev1.Pod{inReap, inNative} {
		await(f, pod, "over", essential.IsTerminal)
		if main := statusOf(pod, "main").State.Terminated; pod.Status.Phase != corev1.PodSucceeded || main == nil || main.ExitCode != 0 {
			t.Errorf("%s: phase %s; main %+v", pod.Name, pod.Status.Phase, main)
		}
	}
}

// What counts is whether the essential container is started again after it has
// completed, by its own rules or the pod's.
func testNativeOwnRestartPolicies(t *testing.T) {
	f := newFixture(t, true)
	always, onFailure, never := corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyOnFailure, corev1.ContainerRestartPolicyNever
	rule := func(code int32) []corev1.ContainerRestartRule {
		return []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestart, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{
			Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{code},
		}}}
	}
	const again, special = `the kubelet starts "main" again after completion`, `"proxy" has a restartPolicy or restartPolicyRules of its own`
	for sentence, c := range map[string]struct {
		pod                corev1.RestartPolicy
		main, proxy        *corev1.ContainerRestartPolicy
		mainRule, sideRule []corev1.ContainerRestartRule
		want               string // empty: it fits
		both               bool   // mode Reap refuses it too
	}{
		"main alone ends in a pod that does not":  {pod: corev1.RestartPolicyAlways, main: &onFailure},
		"main is started again after a code":      {pod: corev1.RestartPolicyNever, main: &never, mainRule: rule(42)},
		"main is started again after 0":           {pod: corev1.RestartPolicyNever, main: &never, mainRule: rule(0), want: "never completes: its restartPolicyRules restart it after exit code 0", both: true},
		"main alone continues in a pod that ends": {pod: corev1.RestartPolicyNever, main: &always, want: again},
		"a sidecar that is restarted by its rule": {pod: corev1.RestartPolicyNever, proxy: &never, sideRule: rule(42), want: special},
		"a sidecar that is never restarted":       {pod: corev1.RestartPolicyOnFailure, proxy: &never, want: special},
		"a sidecar that always is":                {pod: corev1.RestartPolicyNever, proxy: &always},
	} {
		main, proxy := kube.Main("true"), kube.Sidecar("proxy")
		main.RestartPolicy, main.RestartPolicyRules = c.main, c.mainRule
		proxy.RestartPolicy, proxy.RestartPolicyRules = c.proxy, c.sideRule
		template := kube.Template(c.pod, new("main"), main, proxy)
		if err := f.cluster.Create(f.ctx, f.twin(reap, template), client.DryRunAll); (err != nil) != c.both {
			t.Errorf("%s, in mode Reap: got error %v", sentence, err)
		}
		err := f.cluster.Create(f.ctx, f.twin(native, template), client.DryRunAll)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q", sentence, err, c.want)
		}
	}
}

// After main the last sidecar gets SIGTERM, and when it has ended the one
// before it. Their hooks run at once. What main left in a volume is there.
func testNativeStopOrder(t *testing.T) {
	f := newFixture(t, true)
	template := kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1; echo result >/shared/result"),
		onTerm("first", "cat /shared/result"), onTerm("last", "cat /shared/result; sleep 4; echo flushed"))
	share(&template)
	inReap, inNative := f.twins(template)
	f.inOrder(f.said(inNative, "main", kube.MainEnd), f.said(inNative, "last", kube.Terminated),
		f.said(inNative, "last", "flushed"), f.said(inNative, "first", kube.Terminated))
	f.inOrder(f.said(inNative, "main", kube.MainEnd), f.said(inNative, "first", kube.PreStop), f.said(inNative, "last", "flushed"))
	f.inOrder(f.said(inReap, "main", kube.MainEnd), f.said(inReap, "first", kube.PreStop), f.said(inReap, "first", kube.Terminated), f.said(inReap, "last", "flushed"))
	for _, pod := range []*corev1.Pod{inReap, inNative} {
		f.said(pod, "first", "result")
		f.said(pod, "last", "result")
		await(f, pod, "succeeded", func(p *corev1.Pod) bool {
			return p.Status.Phase == corev1.PodSucceeded && !essential.HasRunningContainers(p)
		})
	}
}

// The pod's grace period is one for all: a sidecar that ignores SIGTERM leaves
// those before it too little to flush. The pod has succeeded all the same.
func testNativeSharedGracePeriod(t *testing.T) {
	f := newFixture(t, true)
	deaf := kube.Sidecar("deaf")
	deaf.Command[2] = strings.Replace(deaf.Command[2], "; exit 143", "", 1)
	template := kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1"), onTerm("flusher", "sleep 8; echo flushed"), deaf)
	template.Spec.TerminationGracePeriodSeconds = new(int64(14))
	inReap, inNative := f.twins(template)
	for pod, want := range map[*corev1.Pod]int32{inReap: 143, inNative: 137} {
		await(f, pod, "succeeded, with all ended", func(p *corev1.Pod) bool {
			return p.Status.Phase == corev1.PodSucceeded && statusOf(p, "flusher").State.Terminated != nil && statusOf(p, "deaf").State.Terminated != nil
		})
		if code := statusOf(pod, "flusher").State.Terminated.ExitCode; code != want {
			t.Errorf("%s: the flusher ended with %d, want %d", pod.Name, code, want)
		}
	}
	f.said(inReap, "flusher", "flushed")
	f.said(inNative, "flusher", kube.Terminated) // it got SIGTERM, but not the time
	f.count(inNative.Name, "flushed", 0)
}

// A running pod is evicted: main ends before its sidecars get SIGTERM. Their
// hooks do not wait for that.
func testNativeEvicted(t *testing.T) {
	f := newFixture(t, true)
	inReap, inNative := f.twins(kube.Template(corev1.RestartPolicyNever, new("main"), onTerm("main", "sleep 4; echo saved"), kube.Sidecar("proxy")))
	for _, pod := range []*corev1.Pod{inReap, inNative} {
		f.said(pod, "main", kube.SidecarStart)
		f.said(pod, "proxy", kube.SidecarStart)
		f.must(f.cluster.Clientset.PolicyV1().Evictions(f.namespace).Evict(f.ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: pod.Name}}))
		f.get(pod)
		if c := essential.Condition(pod, corev1.DisruptionTarget); c == nil || c.Reason != "EvictionByEvictionAPI" || pod.DeletionTimestamp == nil {
			t.Errorf("%s: condition %+v, deletion %v", pod.Name, c, pod.DeletionTimestamp)
		}
	}
	f.inOrder(f.said(inNative, "main", kube.Terminated), f.said(inNative, "main", "saved"), f.said(inNative, "proxy", kube.Terminated))
	f.inOrder(f.said(inNative, "proxy", kube.PreStop), f.said(inNative, "main", "saved"))
	f.inOrder(f.said(inReap, "proxy", kube.Terminated), f.said(inReap, "main", "saved"))
	f.awaitGone(inReap)
	f.awaitGone(inNative)
}

// Quotas, the QoS class and a LimitRange's defaults see the same sums, also
// where an init container needs more than all others together.
func testNativeSums(t *testing.T) {
	f := newFixture(t, true)
	amounts := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	f.create(&corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "defaults"}, Spec: corev1.LimitRangeSpec{
		Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer, Default: amounts("300m", "30Mi"), DefaultRequest: amounts("200m", "20Mi")}},
	}})
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "all"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
		corev1.ResourceRequestsCPU: resource.MustParse("100"), corev1.ResourceRequestsMemory: resource.MustParse("100Gi"),
		corev1.ResourceLimitsCPU: resource.MustParse("100"), corev1.ResourceLimitsMemory: resource.MustParse("100Gi"), corev1.ResourcePods: resource.MustParse("10"),
	}}}
	f.create(quota)
	main, setup := kube.Main("true"), kube.Main("true")
	main.Resources.Requests = amounts("1", "100Mi")
	main.Resources.Limits = amounts("2", "200Mi")
	for peak, want := range map[string]corev1.ResourceList{
		"50m": amounts("1400m", "140Mi"), // main and two sidecars
		"3":   amounts("3", "140Mi"),     // what the init container takes
	} {
		setup.Name, setup.Resources.Requests, setup.Resources.Limits = "setup", amounts(peak, "10Mi"), amounts("4", "10Mi")
		template := kube.Template(corev1.RestartPolicyNever, new("main"), main, kube.Sidecar("one"), kube.Sidecar("two"))
		template.Spec.InitContainers = []corev1.Container{setup}
		template.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/never"}}
		used := map[string]map[string]string{}
		for _, mode := range modes {
			await(f, quota, "counting from nothing", func(q *corev1.ResourceQuota) bool { return len(q.Status.Used) == 5 && q.Status.Used.Pods().IsZero() })
			pod := f.twin(mode, template)
			f.must(kube.Await(f.ctx, timeLimit, func(ctx context.Context) (bool, string) { // the limit range takes a moment to be known
				probe := pod.DeepCopy()
				err := f.cluster.Create(ctx, probe, client.DryRunAll)
				memory := resourcesOf(probe, "two").Requests[corev1.ResourceMemory]
				return err == nil && memory.Value() == 20<<20, fmt.Sprintf("no default for a sidecar: %v", err)
			}))
			f.create(pod)
			f.get(quota)
			used[mode] = map[string]string{"QoS": string(pod.Status.QOSClass)}
			for name, amount := range quota.Status.Used {
				used[mode][string(name)] = amount.String()
			}
			if got := quota.Status.Used; !got.Name(corev1.ResourceRequestsCPU, "").Equal(*want.Cpu()) || !got.Name(corev1.ResourceRequestsMemory, "").Equal(*want.Memory()) {
				t.Errorf("%s with a peak of %s: the quota counts %v, want %v", mode, peak, got, want)
			}
			f.must(f.cluster.Delete(f.ctx, pod))
			f.awaitGone(pod)
		}
		if diff := cmp.Diff(used[reap], used[native]); diff != "" {
			t.Errorf("with a peak of %s, in mode Reap (-) and Native (+):\n%s", peak, diff)
		}
	}
}

func resourcesOf(pod *corev1.Pod, name string) corev1.ResourceRequirements {
	for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		if c.Name == name {
			return c.Resources
		}
	}
	return corev1.ResourceRequirements{}
}

// While its sidecars end, a pod has its phase and its share of the quota, in both
// modes.
func testNativeQuotaDuringTheStop(t *testing.T) {
	f := newFixture(t, true)
	f.create(&corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "one"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}}})
	next := kube.Pod(f.namespace, "next", kube.Template(corev1.RestartPolicyNever, nil, kube.Main("true")))
	for _, mode := range modes {
		pod := f.twin(mode, kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1"), onTerm("proxy", "sleep 12")))
		f.must(kube.Await(f.ctx, timeLimit, func(ctx context.Context) (bool, string) { // once the one before has left the quota
			err := f.cluster.Create(ctx, pod)
			return err == nil, fmt.Sprint(err)
		}))
		f.said(pod, "proxy", kube.Terminated)
		f.get(pod)
		if pod.Status.Phase != corev1.PodRunning {
			t.Errorf("%s: while the sidecar ends, the phase is %s", mode, pod.Status.Phase)
		}
		f.must(kube.Await(f.ctx, timeLimit, func(ctx context.Context) (bool, string) {
			err := f.cluster.Create(ctx, next.DeepCopy(), client.DryRunAll)
			return err == nil, fmt.Sprintf("no room for another pod: %v", err)
		}))
		f.get(pod)
		if essential.HasRunningContainers(pod) {
			t.Errorf("%s: when there is room for the next pod, the sidecar is %+v", mode, statusOf(pod, "proxy").State)
		}
		await(f, pod, "through with its containers", func(p *corev1.Pod) bool { return essential.IsTerminal(p) && !essential.HasRunningContainers(p) })
	}
}

// The first regular container is kubectl's default: main, if all others moved.
func testNativeKubectlDefaults(t *testing.T) {
	f := newFixture(t, true)
	inReap, inNative := f.twins(kube.Template(corev1.RestartPolicyNever, new("main"), kube.Sidecar("proxy"), kube.Main("sleep 600")))
	for pod, want := range map[*corev1.Pod]string{inReap: kube.SidecarStart, inNative: kube.MainStart} {
		f.said(pod, "main", kube.MainStart)
		if got := f.kubectl("logs", pod.Name); !strings.Contains(got, want) {
			t.Errorf("kubectl logs %s: %q, want %q", pod.Name, got, want)
		}
		if got := f.kubectl("exec", pod.Name, "--", "cat", "/proc/1/cmdline"); !strings.Contains(got, want) {
			t.Errorf("kubectl exec %s: %q, want %q", pod.Name, got, want)
		}
		await(f, pod, "ready", podReady)
		if got := strings.Fields(f.kubectl("get", "pod", pod.Name, "--no-headers")); len(got) < 3 || got[1] != "2/2" || got[2] != "Running" {
			t.Errorf("kubectl get %s: %q", pod.Name, got)
		}
	}
}

func podReady(pod *corev1.Pod) bool {
	c := essential.Condition(pod, corev1.PodReady)
	return c != nil && c.Status == corev1.ConditionTrue
}

// The scheduler keeps a node port free for native sidecars too. Inside one pod,
// the API server compares the ports of regular containers alone.
func testNativeHostPorts(t *testing.T) {
	f := newFixture(t, true)
	for i, mode := range modes {
		port := corev1.ContainerPort{ContainerPort: 8080, HostPort: 28080 + int32(i)}
		proxy := kube.Sidecar("proxy")
		proxy.Ports = []corev1.ContainerPort{port}
		template := kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 600"), proxy)
		first, second := f.twin(mode, template), f.twin(mode, template)
		second.Name += "-second"
		f.create(first)
		await(f, first, "on a node", func(p *corev1.Pod) bool { return p.Spec.NodeName != "" })
		f.create(second)
		await(f, second, "refused by the scheduler", func(p *corev1.Pod) bool {
			c := essential.Condition(p, corev1.PodScheduled)
			return c != nil && c.Status == corev1.ConditionFalse && strings.Contains(c.Message, "free ports")
		})
		template.Spec.Containers[0].Ports = []corev1.ContainerPort{port}
		err := f.cluster.Create(f.ctx, f.twin(mode, template), client.DryRunAll)
		if refused := err != nil && strings.Contains(err.Error(), "Duplicate value"); refused != (mode == reap) || !refused && err != nil && !strings.Contains(err.Error(), "already exists") {
			t.Errorf("%s: main and sidecar with the same host port: %v", mode, err)
		}
	}
}

// A Service finds the sidecar's port by its name, and the pod is ready when the
// sidecar is.
func testNativeServiceOfASidecar(t *testing.T) {
	f := newFixture(t, true)
	proxy := kube.Sidecar("proxy")
	proxy.Ports = []corev1.ContainerPort{{Name: "mesh", ContainerPort: 15001}}
	proxy.ReadinessProbe = &corev1.Probe{ProbeHandler: ready("test", "-e", "/ready"), PeriodSeconds: 1, TimeoutSeconds: 5}
	for _, mode := range modes {
		pod := f.twin(mode, kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 600"), proxy))
		pod.Labels["mode"] = mode
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: pod.Name}, Spec: corev1.ServiceSpec{
			Selector: map[string]string{"mode": mode}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("mesh")}},
		}}
		f.create(service)
		f.create(pod)
		endpoint := func(ready bool) {
			t.Helper()
			f.must(kube.Await(f.ctx, timeLimit, func(ctx context.Context) (bool, string) {
				var slices discoveryv1.EndpointSliceList
				if err := f.cluster.List(ctx, &slices, client.InNamespace(f.namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service.Name}); err != nil {
					return false, err.Error()
				}
				for _, slice := range slices.Items {
					if len(slice.Ports) == 1 && *slice.Ports[0].Port == 15001 && len(slice.Endpoints) == 1 && *slice.Endpoints[0].Conditions.Ready == ready {
						return true, ""
					}
				}
				return false, fmt.Sprintf("%s: no endpoint with the sidecar's port that is ready: %t in %+v", mode, ready, slices.Items)
			}))
		}
		f.said(pod, "main", kube.MainStart)
		endpoint(false)
		f.kubectl("exec", pod.Name, "-c", "proxy", "--", "touch", "/ready")
		endpoint(true)
	}
}

// The restricted level judges native sidecars as it does regular containers.
func testNativeRestrictedPodsOfUsers(t *testing.T) {
	f := newFixture(t, true)
	f.restrict()
	template := kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("true"), kube.Sidecar("proxy"))
	for i := range template.Spec.Containers {
		template.Spec.Containers[i].SecurityContext = &corev1.SecurityContext{
			RunAsNonRoot: new(true), AllowPrivilegeEscalation: new(false), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
	}
	privileged := *template.DeepCopy()
	privileged.Spec.Containers[1].SecurityContext.AllowPrivilegeEscalation = nil
	const refused = `violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "proxy" must set`
	for _, mode := range modes {
		// The API server learns of the level a moment later.
		f.must(kube.Await(f.ctx, timeLimit, func(ctx context.Context) (bool, string) {
			err := f.cluster.Create(ctx, f.twin(mode, privileged), client.DryRunAll)
			return err != nil && strings.Contains(err.Error(), refused), fmt.Sprintf("%s: a sidecar that may gain privileges: %v", mode, err)
		}))
		if err := f.cluster.Create(f.ctx, f.twin(mode, template), client.DryRunAll); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}
