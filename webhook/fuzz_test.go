package webhook

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/json"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// FuzzAdmit: whatever the body, the handler answers; what it answers with 200
// is a review of the same request, and its patch touches only our annotations,
// or makes sidecars native where that is asked for or preferred.
func FuzzAdmit(f *testing.F) {
	reap := NewHandlers(prometheus.NewRegistry(), essential.DefaultPolicies())[PodsPath]
	prefersNative := NewHandlers(prometheus.NewRegistry(), nativeByDefault())[PodsPath]
	f.Fuzz(func(t *testing.T, body []byte) {
		checkPatch(t, reap, body, api.ModeReap)
		checkPatch(t, prefersNative, body, api.ModeNative)
	})
}

// annotationPaths are what a patch may touch in every pod.
var annotationPaths = []string{
	"/metadata/annotations",
	"/metadata/annotations/essential-containers~1tracked",
	"/metadata/annotations/essential-containers~1due",
	"/metadata/annotations/essential-containers~1stopped",
}

func checkPatch(t *testing.T, handler http.Handler, body []byte, mode api.Mode) {
	t.Helper()
	asked, response := askForFuzzing(t, handler, body)
	if response == nil || response.Patch == nil {
		return
	}
	var operations []jsonpatch.Operation
	if err := utiljson.Unmarshal(response.Patch, &operations); err != nil {
		t.Fatal(err)
	}
	if own, ok := asked.Object.Metadata.Annotations[api.ModeAnnotation]; ok {
		mode = api.Mode(own)
	}
	left := len(asked.Object.Spec.Containers)
	for _, operation := range operations {
		switch path := operation.Path; {
		case mode == api.ModeNative && strings.HasPrefix(path, "/spec/initContainers") && operation.Operation == "add":
		case mode == api.ModeNative && strings.HasPrefix(path, "/spec/containers/") && operation.Operation == "remove":
			left--
		case !slices.Contains(annotationPaths, path):
			t.Errorf("patch touches %s", path)
		case path == "/metadata/annotations" && asked.Object.Metadata.Annotations != nil:
			t.Error("patch replaces the annotations")
		}
	}
	if left < 1 && left < len(asked.Object.Spec.Containers) {
		t.Errorf("patch leaves %d of %d containers", left, len(asked.Object.Spec.Containers))
	}
}

// FuzzStatus: whatever the body, the handler answers; it denies no write, and its
// patch gives a Failed status another phase, reason or message, and the one that
// is stored if the pod has succeeded already.
func FuzzStatus(f *testing.F) {
	handler := NewHandlers(prometheus.NewRegistry(), essential.DefaultPolicies())[StatusesPath]
	f.Fuzz(func(t *testing.T, body []byte) {
		asked, response := askForFuzzing(t, handler, body)
		if response == nil {
			return
		}
		if !response.Allowed || len(response.Warnings) > 0 {
			t.Errorf("the kubelet's write is answered with %+v", response)
		}
		if response.Patch == nil {
			return
		}
		if asked.Operation != admissionv1.Update || asked.SubResource != "status" || asked.Object.Status.Phase != corev1.PodFailed {
			t.Errorf("%s of subresource %q with phase %s is patched", asked.Operation, asked.SubResource, asked.Object.Status.Phase)
		}
		phase := map[string]string{}
		var operations []jsonpatch.Operation
		if err := utiljson.Unmarshal(response.Patch, &operations); err != nil {
			t.Fatal(err)
		}
		for _, operation := range operations {
			if !slices.Contains([]string{"/status/phase", "/status/reason", "/status/message"}, operation.Path) {
				t.Errorf("patch touches %s", operation.Path)
			}
			phase[operation.Path], _ = operation.Value.(string)
		}
		if was := asked.OldObject.Status.Phase; was == corev1.PodSucceeded && phase["/status/phase"] != string(was) {
			t.Errorf("phase %s becomes %v", was, phase)
		}
	})
}

// FuzzValidateWorkload: whatever the body, the handler answers; it changes
// nothing, and a workload whose creation it allows is one whose template, as the
// API library reads it, has no label or a right one, right policies, and essential
// containers that can complete.
func FuzzValidateWorkload(f *testing.F) {
	handler := NewHandlers(prometheus.NewRegistry(), essential.DefaultPolicies())[WorkloadsPath]
	f.Fuzz(func(t *testing.T, body []byte) {
		asked, response := askForFuzzing(t, handler, body)
		if response == nil {
			return
		}
		if response.Patch != nil || response.PatchType != nil {
			t.Errorf("a workload is changed: %s", response.Patch)
		}
		if !response.Allowed && !strings.Contains(response.Result.Message, "spec.template.metadata.") &&
			!strings.Contains(response.Result.Message, "spec.jobTemplate.spec.template.metadata.") {
			t.Errorf("the denial does not name the template: %s", response.Result.Message)
		}
		template := typedTemplate(body)
		if template == nil || asked.Operation != admissionv1.Create || asked.SubResource != "" || asked.OldObject != nil {
			return
		}
		if template.Annotations[api.ModeAnnotation] == string(api.ModeNative) {
			return // its obstacles have tests of their own
		}
		if want := acceptable(template); response.Allowed != want {
			t.Errorf("allowed: %v, want %v for %+v", response.Allowed, want, template)
		}
	})
}

// askForFuzzing returns no response if the body is refused.
func askForFuzzing(t *testing.T, handler http.Handler, body []byte) (*request, *admissionv1.AdmissionResponse) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, r)

	switch recorder.Code {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		if text := recorder.Body.Bytes(); bytes.Count(text, []byte("\n")) != 1 || len(text) > 2*maxText {
			t.Errorf("status %d with %q, want one short line", recorder.Code, text)
		}
		return nil, nil
	case http.StatusOK:
	default:
		t.Fatalf("status %d: %s", recorder.Code, recorder.Body)
	}
	var asked review
	if err := utiljson.Unmarshal(body, &asked); err != nil {
		t.Fatalf("undecodable body admitted: %v", err)
	}
	response := decodeResponse(t, recorder.Body.Bytes())
	if response.UID != asked.Request.UID {
		t.Errorf("answered request %q, asked %q", response.UID, asked.Request.UID)
	}
	if response.Allowed != (response.Result == nil) || !response.Allowed && response.Patch != nil {
		t.Errorf("contradictory response: %+v", response)
	}
	return asked.Request, response
}

// typedTemplate is the template of pods of the review's object as the API library
// reads it, nil if it cannot.
func typedTemplate(body []byte) *corev1.PodTemplateSpec {
	// The API server sends no key twice, and decoders differ in what that means.
	if twice, err := json.UnmarshalStrict(body, new(any), json.DisallowDuplicateFields); err != nil || len(twice) > 0 {
		return nil
	}
	var review struct {
		Request struct {
			Resource metav1.GroupVersionResource `json:"resource"`
			Object   runtime.RawExtension        `json:"object"`
		} `json:"request"`
	}
	if utiljson.Unmarshal(body, &review) != nil {
		return nil
	}
	var job batchv1.Job
	var cronJob batchv1.CronJob
	var deployment appsv1.Deployment
	var replicaSet appsv1.ReplicaSet
	var statefulSet appsv1.StatefulSet
	var daemonSet appsv1.DaemonSet
	kind := map[string]struct {
		object   any
		template *corev1.PodTemplateSpec
	}{
		"jobs":         {&job, &job.Spec.Template},
		"cronjobs":     {&cronJob, &cronJob.Spec.JobTemplate.Spec.Template},
		"deployments":  {&deployment, &deployment.Spec.Template},
		"replicasets":  {&replicaSet, &replicaSet.Spec.Template},
		"statefulsets": {&statefulSet, &statefulSet.Spec.Template},
		"daemonsets":   {&daemonSet, &daemonSet.Spec.Template},
	}[review.Request.Resource.Resource]
	if kind.object == nil || utiljson.Unmarshal(review.Request.Object.Raw, kind.object) != nil {
		return nil
	}
	return kind.template
}

func acceptable(template *corev1.PodTemplateSpec) bool {
	label, labelled := template.Labels[api.Label]
	if _, mirror := template.Annotations[corev1.MirrorPodAnnotationKey]; mirror || !labelled {
		return true
	}
	var containers essential.ContainerNames
	for _, c := range template.Spec.Containers {
		containers.Regular = append(containers.Regular, c.Name)
	}
	for _, c := range template.Spec.InitContainers {
		containers.Init = append(containers.Init, c.Name)
	}
	names, errs := essential.ParseLabel(nil, label, containers)
	_, wrong := essential.DefaultPolicies().Override(nil, template.Annotations)
	restartsForever := func(c corev1.Container) bool {
		resized := slices.ContainsFunc(c.ResizePolicy, func(p corev1.ContainerResizePolicy) bool { return p.RestartPolicy == corev1.RestartContainer })
		ruled := essential.IsRestartedByRule(c.RestartPolicy, c.RestartPolicyRules, 0)
		restarted := essential.IsRestarted(template.Spec.RestartPolicy, c.RestartPolicy, nil, 0)
		return slices.Contains(names, c.Name) && (ruled || restarted && (c.LivenessProbe != nil || c.StartupProbe != nil || resized))
	}
	return len(errs)+len(wrong) == 0 && !slices.ContainsFunc(template.Spec.Containers, restartsForever)
}
