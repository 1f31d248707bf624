package chart

import (
	"path"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestPodsAreRestricted(t *testing.T) {
	for _, component := range components {
		pod := deployment(t, render(t), component).Spec.Template.Spec
		assertRestricted(t, pod)
		if user := pod.SecurityContext.RunAsUser; user == nil || *user != 65532 {
			t.Errorf("%s runs as user %v, want the image's 65532", component, user)
		}
		for _, c := range pod.Containers {
			if fs := c.SecurityContext.ReadOnlyRootFilesystem; fs == nil || !*fs {
				t.Errorf("%s can write to its root file system", component)
			}
		}
	}
}

// The webhook mounts the Secret it reads, and nothing else; the reaper nothing.
func TestVolumes(t *testing.T) {
	objects := render(t)
	if v := deployment(t, objects, "reaper").Spec.Template.Spec.Volumes; len(v) != 0 {
		t.Errorf("volumes of the reaper: %v", v)
	}
	c := container(t, objects, "webhook")
	mounts := []corev1.VolumeMount{{Name: "tls", MountPath: flags(t, c.Args)["cert-dir"], ReadOnly: true}}
	if diff := cmp.Diff(mounts, c.VolumeMounts); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	volumes := deployment(t, objects, "webhook").Spec.Template.Spec.Volumes
	if len(volumes) != 1 || volumes[0].Name != "tls" || volumes[0].Secret == nil {
		t.Errorf("volumes: %v", volumes)
	}
}

// With a client CA, its Secret is mounted too, and no more of it than the
// certificate.
func TestClientCA(t *testing.T) {
	args := []string{"--set", "webhook.clientCA.secretName=callers"}
	c := container(t, render(t, args...), "webhook")
	file := flags(t, c.Args)["client-ca-file"]
	if i := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == path.Dir(file) }); i < 0 || !c.VolumeMounts[i].ReadOnly {
		t.Errorf("%s is not mounted: %v", file, c.VolumeMounts)
	}
	volumes := deployment(t, render(t, args...), "webhook").Spec.Template.Spec.Volumes
	want := corev1.Volume{Name: "client-ca", VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: "callers", Items: []corev1.KeyToPath{{Key: "ca.crt", Path: path.Base(file)}}}}}
	if diff := cmp.Diff(want, volumes[len(volumes)-1]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The webhook's port is open to the API servers alone, the others to everybody.
func TestNetworkPolicy(t *testing.T) {
	objects := render(t, "--set-json", `webhook.networkPolicy={"enabled":true,"from":[{"ipBlock":{"cidr":"10.0.0.0/28"}}]}`)
	port := func(name string) networkingv1.NetworkPolicyPort {
		return networkingv1.NetworkPolicyPort{Port: new(intstr.FromString(name))}
	}
	want := networkingv1.NetworkPolicySpec{
		PodSelector: *deployment(t, objects, "webhook").Spec.Selector,
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		Ingress: []networkingv1.NetworkPolicyIngressRule{
			{From: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/28"}}}, Ports: []networkingv1.NetworkPolicyPort{port("https")}},
			{Ports: []networkingv1.NetworkPolicyPort{port("metrics"), port("probes")}},
		},
	}
	if diff := cmp.Diff(want, all[*networkingv1.NetworkPolicy](objects)["essential-containers-webhook"].Spec); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The garbage collector of both programs knows the container's limit, if there is
// one.
func TestMemoryLimit(t *testing.T) {
	for _, component := range components {
		want := []corev1.EnvVar{{Name: "MEMORY_LIMIT", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory"}}}}
		if diff := cmp.Diff(want, container(t, render(t), component).Env); diff != "" {
			t.Errorf("%s (-want +got):\n%s", component, diff)
		}
		if env := container(t, render(t, "--set", component+".resources.limits=null"), component).Env; len(env) > 0 {
			t.Errorf("%s without a limit: %v", component, env)
		}
	}
}

// assertRestricted checks what the restricted Pod Security level demands of
// pods like these, which use none of the fields that it forbids.
func assertRestricted(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	if pod.HostNetwork || pod.HostPID || pod.HostIPC {
		t.Error("the pod shares a namespace of its node")
	}
	for _, v := range pod.Volumes {
		if v.Secret == nil {
			t.Errorf("volume %s is not a Secret", v.Name)
		}
	}
	security := pod.SecurityContext
	if security == nil || security.RunAsNonRoot == nil || !*security.RunAsNonRoot {
		t.Fatal("the pod may run as root")
	}
	if security.SeccompProfile == nil || security.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Error("the pod may make any system call")
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		own := c.SecurityContext
		if own == nil || own.AllowPrivilegeEscalation == nil || *own.AllowPrivilegeEscalation {
			t.Fatalf("container %s may gain privileges", c.Name)
		}
		want := &corev1.SecurityContext{
			AllowPrivilegeEscalation: own.AllowPrivilegeEscalation,
			ReadOnlyRootFilesystem:   own.ReadOnlyRootFilesystem,
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
		if diff := cmp.Diff(want, own); diff != "" {
			t.Errorf("security context of container %s (-want +got):\n%s", c.Name, diff)
		}
		for _, port := range c.Ports {
			if port.HostPort != 0 {
				t.Errorf("container %s takes a port of its node", c.Name)
			}
		}
	}
}
