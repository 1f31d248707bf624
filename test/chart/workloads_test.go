package chart

import (
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var components = []string{"webhook", "reaper"}

// deployment returns a component's Deployment in whichever release it stands.
func deployment(t *testing.T, objects []object, component string) *appsv1.Deployment {
	t.Helper()
	for _, d := range all[*appsv1.Deployment](objects) {
		if d.Labels["app.kubernetes.io/component"] == component {
			return d
		}
	}
	t.Fatalf("no Deployment of the component %s", component)
	return nil
}

// container returns the one container of a component's pods.
func container(t *testing.T, objects []object, component string) corev1.Container {
	t.Helper()
	containers := deployment(t, objects, component).Spec.Template.Spec.Containers
	if len(containers) != 1 {
		t.Fatalf("want one container in the pods of the %s, have %d", component, len(containers))
	}
	return containers[0]
}

func TestReplicas(t *testing.T) {
	objects := render(t, "--set", "webhook.replicas=3,reaper.replicas=0")
	for component, want := range map[string]int32{"webhook": 3, "reaper": 0} {
		if got := deployment(t, objects, component).Spec.Replicas; got == nil || *got != want {
			t.Errorf("replicas of the %s: %v, want %d", component, got, want)
		}
	}
}

func TestUpdateKeepsTheWebhookAnswering(t *testing.T) {
	zero, one := intstr.FromInt32(0), intstr.FromInt32(1)
	want := appsv1.DeploymentStrategy{
		RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &zero, MaxSurge: &one},
	}
	if diff := cmp.Diff(want, deployment(t, render(t), "webhook").Spec.Strategy); diff != "" {
		t.Errorf("strategy (-want +got):\n%s", diff)
	}
}

func TestDisruptionBudget(t *testing.T) {
	budget := only[*policyv1.PodDisruptionBudget](t, render(t)).Spec
	if budget.MaxUnavailable == nil || budget.MaxUnavailable.IntValue() != 1 || budget.MinAvailable != nil {
		t.Errorf("max unavailable %v, min available %v; want 1 and nothing", budget.MaxUnavailable, budget.MinAvailable)
	}
	if policy := budget.UnhealthyPodEvictionPolicy; policy == nil || *policy != policyv1.AlwaysAllow {
		t.Error("a pod that is not ready keeps its node from being drained")
	}
}

// Each selector finds the pods it is for, and no pod of another component or of
// another release.
func TestSelectors(t *testing.T) {
	objects := render(t, "--set", "podMonitor.enabled=true")
	webhook, reaper := deployment(t, objects, "webhook"), deployment(t, objects, "reaper")
	spread := func(d *appsv1.Deployment) *metav1.LabelSelector {
		return d.Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector
	}
	service := only[*corev1.Service](t, objects).Spec.Selector
	for name, test := range map[string]struct {
		selector *metav1.LabelSelector
		want     []string
	}{
		"webhook Deployment": {webhook.Spec.Selector, []string{"webhook"}},
		"webhook spread":     {spread(webhook), []string{"webhook"}},
		"reaper Deployment":  {reaper.Spec.Selector, []string{"reaper"}},
		"reaper spread":      {spread(reaper), []string{"reaper"}},
		"Service":            {&metav1.LabelSelector{MatchLabels: service}, []string{"webhook"}},
		"disruption budget":  {only[*policyv1.PodDisruptionBudget](t, objects).Spec.Selector, []string{"webhook"}},
		"pod monitor":        {&only[*podMonitor](t, objects).Spec.Selector, []string{"reaper", "webhook"}},
	} {
		t.Run(name, func(t *testing.T) {
			selector, err := metav1.LabelSelectorAsSelector(test.selector)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range []*appsv1.Deployment{reaper, webhook} {
				pod := d.Spec.Template.Labels
				if selector.Matches(labels.Set(pod)) {
					got = append(got, pod["app.kubernetes.io/component"])
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("components (-want +got):\n%s", diff)
			}
			other := deployment(t, renderRelease(t, "other", namespace), test.want[0])
			if selector.Matches(labels.Set(other.Spec.Template.Labels)) {
				t.Error("another release's pods are selected too")
			}
		})
	}
}

func TestPodsAreSpreadIfPossible(t *testing.T) {
	for _, component := range components {
		constraint := deployment(t, render(t), component).Spec.Template.Spec.TopologySpreadConstraints[0]
		constraint.LabelSelector = nil // see TestSelectors
		want := corev1.TopologySpreadConstraint{
			MaxSkew:           1,
			TopologyKey:       corev1.LabelHostname,
			WhenUnsatisfiable: corev1.ScheduleAnyway,
			MatchLabelKeys:    []string{appsv1.DefaultDeploymentUniqueLabelKey},
		}
		if diff := cmp.Diff(want, constraint); diff != "" {
			t.Errorf("%s (-want +got):\n%s", component, diff)
		}
	}
}

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestImage(t *testing.T) {
	for name, test := range map[string]struct {
		set, want string
	}{
		"the chart's own version":   {"", "essential-containers:" + version},
		"a tag":                     {"image.tag=edge", "essential-containers:edge"},
		"a registry":                {"image.repository=registry:5000/ec", "registry:5000/ec:" + version},
		"a digest":                  {"image.digest=" + digest, "essential-containers@" + digest},
		"a digest in a tag's place": {"image.tag=edge,image.digest=" + digest, "essential-containers@" + digest},
	} {
		t.Run(name, func(t *testing.T) {
			objects := render(t, "--set", test.set)
			for _, component := range components {
				if got := container(t, objects, component).Image; got != test.want {
					t.Errorf("image of the %s: %s, want %s", component, got, test.want)
				}
			}
		})
	}
}

// Whatever name of an image the Makefile is given, the chart installs that image.
func TestImageOfTheMakefile(t *testing.T) {
	values := regexp.MustCompile(`--set(-string)?=image[^\s;]*`)
	for image, want := range map[string]string{
		"ec":                             "ec:latest",
		"example.com/ec:1.10":            "example.com/ec:1.10",
		"registry:5000/a/ec":             "registry:5000/a/ec:latest",
		"registry:5000/a/ec:edge":        "registry:5000/a/ec:edge",
		"registry:5000/ec@" + digest:     "registry:5000/ec@" + digest,
		"registry:5000/ec:1.0@" + digest: "registry:5000/ec@" + digest,
	} {
		for _, target := range []string{"deploy", "manifests"} {
			recipe, err := exec.CommandContext(t.Context(), "make", "--directory=../..", "--dry-run", target, "IMG="+image).CombinedOutput()
			if err != nil {
				t.Fatalf("make %s: %v\n%s", target, err, recipe)
			}
			objects := render(t, values.FindAllString(string(recipe), -1)...)
			if got := container(t, objects, "webhook").Image; got != want {
				t.Errorf("make %s IMG=%s installs %s, want %s", target, image, got, want)
			}
		}
	}
}

func TestImagePull(t *testing.T) {
	objects := render(t, "--set", "image.pullPolicy=Never,imagePullSecrets[0].name=registry")
	for _, component := range components {
		if got := container(t, objects, component).ImagePullPolicy; got != corev1.PullNever {
			t.Errorf("pull policy of the %s: %s", component, got)
		}
		want := []corev1.LocalObjectReference{{Name: "registry"}}
		if diff := cmp.Diff(want, deployment(t, objects, component).Spec.Template.Spec.ImagePullSecrets); diff != "" {
			t.Errorf("pull secrets of the %s (-want +got):\n%s", component, diff)
		}
	}
}

// Every port that something refers to exists, and the program listens there.
func TestPorts(t *testing.T) {
	objects := render(t, "--set", "podMonitor.enabled=true,podMonitor.interval=15s,podMonitor.labels.team=batch")
	listens := map[string]map[string]string{
		"webhook": {"https": "bind-address", "metrics": "metrics-bind-address", "probes": "health-probe-bind-address"},
		"reaper":  {"metrics": "metrics-bind-address", "probes": "health-probe-bind-address"},
	}
	for _, component := range components {
		c := container(t, objects, component)
		ports := map[string]string{}
		for _, port := range c.Ports {
			ports[port.Name] = ":" + strconv.Itoa(int(port.ContainerPort))
		}
		want := map[string]string{}
		for port, flag := range listens[component] {
			want[port] = flags(t, c.Args)[flag]
		}
		if diff := cmp.Diff(want, ports); diff != "" {
			t.Errorf("ports of the %s (-flags +ports):\n%s", component, diff)
		}
		for path, probe := range map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
			get := &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("probes")}
			if diff := cmp.Diff(get, probe.HTTPGet); diff != "" {
				t.Errorf("probe of the %s (-want +got):\n%s", component, diff)
			}
		}
	}
	service := only[*corev1.Service](t, objects).Spec.Ports
	if diff := cmp.Diff([]corev1.ServicePort{{Name: "https", Port: 443, TargetPort: intstr.FromString("https")}}, service); diff != "" {
		t.Errorf("service ports (-want +got):\n%s", diff)
	}
	monitor := only[*podMonitor](t, objects)
	if diff := cmp.Diff([]podMetricsEndpoint{{Port: "metrics", Interval: "15s"}}, monitor.Spec.PodMetricsEndpoints); diff != "" {
		t.Errorf("monitored ports (-want +got):\n%s", diff)
	}
	if monitor.Labels["team"] != "batch" {
		t.Errorf("labels of the monitor: %v", monitor.Labels)
	}
}

// A webhook pod told to end serves for the delay, then ends what API servers
// may still wait for: its grace period must be longer than both.
func TestGracePeriod(t *testing.T) {
	for name, set := range map[string]string{
		"the defaults":  "",
		"a long delay":  "webhook.shutdownDelay=120s",
		"slow answers":  "webhook.timeoutSeconds=30",
		"both together": "webhook.shutdownDelay=120s,webhook.timeoutSeconds=30",
		"no delay":      "webhook.shutdownDelay=0s",
	} {
		t.Run(name, func(t *testing.T) {
			objects := render(t, "--set", set)
			delay, err := time.ParseDuration(flags(t, container(t, objects, "webhook").Args)["shutdown-delay"])
			if err != nil {
				t.Fatal(err)
			}
			needed := int64(delay.Seconds()) + int64(*mutatingWebhook(t, objects, podsWebhook).TimeoutSeconds)
			grace := deployment(t, objects, "webhook").Spec.Template.Spec.TerminationGracePeriodSeconds
			if grace == nil || *grace <= needed {
				t.Errorf("grace period is %v, want more than %d seconds", grace, needed)
			}
		})
	}
}

// What users may add to either component's pods arrives there, and only there.
func TestPodSettings(t *testing.T) {
	defaults := render(t)
	for i, component := range components {
		t.Run(component, func(t *testing.T) {
			settings := []string{
				"podLabels.team=batch", "podAnnotations.note=hello", "priorityClassName=high",
				"nodeSelector.disk=fast", "tolerations[0].key=spot", "tolerations[0].operator=Exists",
				"affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight=7",
				"resources.limits.cpu=1", "resources.requests.memory=48Mi",
				"extraArgs[0]=--zap-encoder=console", "extraArgs[1]=--zap-log-level=error",
			}
			objects := render(t, "--set", component+"."+strings.Join(settings, ","+component+"."))

			want := deployment(t, defaults, component).DeepCopy()
			pod := &want.Spec.Template
			pod.Labels["team"] = "batch"
			pod.Annotations = map[string]string{"note": "hello"}
			pod.Spec.PriorityClassName = "high"
			pod.Spec.NodeSelector = map[string]string{"disk": "fast"}
			pod.Spec.Tolerations = []corev1.Toleration{{Key: "spot", Operator: corev1.TolerationOpExists}}
			pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 7}},
			}}
			c := &pod.Spec.Containers[0]
			c.Resources.Limits[corev1.ResourceCPU] = resource.MustParse("1")
			c.Resources.Requests[corev1.ResourceMemory] = resource.MustParse("48Mi")
			c.Args = append(c.Args, "--zap-encoder=console", "--zap-log-level=error")
			if diff := cmp.Diff(want, deployment(t, objects, component)); diff != "" {
				t.Errorf("the component's Deployment (-want +got):\n%s", diff)
			}
			other := components[1-i]
			if diff := cmp.Diff(deployment(t, defaults, other), deployment(t, objects, other)); diff != "" {
				t.Errorf("the other Deployment has changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResources(t *testing.T) {
	for _, component := range components {
		c := container(t, render(t), component)
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s lacks a request or its memory limit: %v", component, c.Resources)
		}
		none := container(t, render(t, "--set", component+".resources.requests=null,"+component+".resources.limits=null"), component)
		if len(none.Resources.Requests)+len(none.Resources.Limits) != 0 {
			t.Errorf("%s keeps resources that were set to null: %v", component, none.Resources)
		}
	}
}
