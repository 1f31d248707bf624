//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/kube"
)

// json objects, as they go over the wire: fields that the API library does not
// know are compared like all others.
type (
	object = map[string]any
	list   = []any
)

// testNativeProperty: whatever valid pod there is, mode Native either moves its
// sidecars whole and changes nothing else, or is denied by the webhook with the
// reason. The API server validates the result, and never has to refuse it.
func testNativeProperty(t *testing.T) {
	f := newFixture(t, true)
	var invalid []string // why, by the API server
	var never, denied, converted, unchanged int
	for range 3 { // times the checks of rapid's own flag, 100
		rapid.Check(t, func(t *rapid.T) {
			d := draw{t}
			pod, essentials := d.pod(f.namespace)
			reap, err := f.admit(pod, api.ModeReap)
			switch {
			case err == nil:
			case strings.Contains(err.Error(), "never completes") || strings.Contains(err.Error(), "looks like a completion"):
				never++ // in either mode
				return
			default: // the generator is to blame
				invalid = append(invalid, err.Error())
				return
			}
			native, err := f.admit(pod, api.ModeNative)
			if want := misfit(pod, essentials); (err != nil) != want {
				t.Fatalf("mode Native is refused: %t, want %t: %v\n%s", err != nil, want, err, indented(pod))
			}
			if err != nil {
				if text := err.Error(); !strings.Contains(text, `admission webhook "`+kube.PodsWebhook+`" denied the request: `) || !strings.Contains(text, "or choose mode Reap") {
					t.Fatalf("refused, and not by the webhook with its reason: %v\n%s", err, indented(pod))
				}
				denied++
				return
			}
			if diff := cmp.Diff(moved(t, reap, essentials), native); diff != "" {
				t.Fatalf("the pod that should be admitted (-) and the one that is (+):\n%s\nof\n%s", diff, indented(pod))
			}
			again, err := f.admit(native, api.ModeNative)
			if err != nil {
				t.Fatalf("refused when it comes again: %v\n%s", err, indented(native))
			}
			if diff := cmp.Diff(native, again); diff != "" {
				t.Fatalf("converted once (-) and twice (+):\n%s", diff)
			}
			if cmp.Equal(reap, native) {
				unchanged++
			} else {
				converted++
			}
		})
	}
	t.Logf("%d pods converted, %d without a sidecar, %d denied, %d that cannot complete, %d not valid before", converted, unchanged, denied, never, len(invalid))
	if all := len(invalid) + never + denied + converted + unchanged; len(invalid) > all/20 || converted < all/5 || denied < all/20 {
		t.Errorf("the generator does not show much; not valid before:\n%s", strings.Join(invalid[:min(len(invalid), 20)], "\n"))
	}
}

// admit returns what would be created of the pod in a mode, without what is new
// at each creation and without the mode itself.
func (f *fixture) admit(pod object, mode api.Mode) (object, error) {
	sent := (&unstructured.Unstructured{Object: pod}).DeepCopy()
	sent.SetAnnotations(withMode(sent.GetAnnotations(), mode))
	unstructured.RemoveNestedField(sent.Object, "status")
	if err := f.cluster.Create(f.ctx, sent, client.DryRunAll); err != nil {
		return nil, err
	}
	annotations := sent.GetAnnotations()
	delete(annotations, api.ModeAnnotation)
	sent.SetAnnotations(annotations)
	for _, field := range []string{"uid", "creationTimestamp", "managedFields", "resourceVersion"} {
		unstructured.RemoveNestedField(sent.Object, "metadata", field)
	}
	if conditions, found, _ := unstructured.NestedSlice(sent.Object, "status", "conditions"); found {
		for _, c := range conditions { // of a pod with scheduling gates
			delete(c.(object), "lastTransitionTime")
		}
		_ = unstructured.SetNestedSlice(sent.Object, conditions, "status", "conditions")
	}
	text, err := json.Marshal(sent.Object)
	if err != nil {
		return nil, err
	}
	var admitted object
	// The volume of the service account's token has a random name.
	err = json.Unmarshal(tokenVolume.ReplaceAll(text, []byte("${1}00000")), &admitted)
	return admitted, err
}

var tokenVolume = regexp.MustCompile(`(kube-api-access-)[a-z0-9]{5}`)

func withMode(annotations map[string]string, mode api.Mode) map[string]string {
	with := map[string]string{api.ModeAnnotation: string(mode)}
	maps.Copy(with, annotations)
	return with
}

// moved is the pod as mode Native has to leave it.
func moved(t *rapid.T, reap object, essentials []string) object {
	pod := (&unstructured.Unstructured{Object: reap}).DeepCopy().Object
	spec := pod["spec"].(object)
	var stay list
	inits, _ := spec["initContainers"].(list)
	for _, c := range spec["containers"].(list) {
		if c := c.(object); slices.Contains(essentials, c["name"].(string)) {
			stay = append(stay, c)
		} else {
			c["restartPolicy"] = "Always"
			inits = append(inits, c)
		}
	}
	if len(stay) != len(essentials) {
		t.Fatalf("%d essential containers of %q", len(stay), essentials)
	}
	spec["containers"] = stay
	if inits != nil {
		spec["initContainers"] = inits
	}
	return pod
}

// misfit is the documentation's rule of what mode Native cannot do, written down
// once more.
func misfit(pod object, essentials []string) bool {
	annotations := pod["metadata"].(object)["annotations"].(object)
	if len(essentials) > 1 && annotations[api.CompletionAnnotation] != "All" || annotations[api.StopDelayAnnotation] == "5s" {
		return true
	}
	spec := pod["spec"].(object)
	for _, c := range spec["containers"].(list) {
		c := c.(object)
		own, rules := c["restartPolicy"], c["restartPolicyRules"]
		switch {
		case !slices.Contains(essentials, c["name"].(string)):
			if own != nil && own != "Always" || rules != nil {
				return true
			}
		case own == nil && spec["restartPolicy"] == "Always", own == "Always", rules != nil && restartsOnZero(rules.(list)):
			return true
		}
	}
	return false
}

func restartsOnZero(rules list) bool {
	for _, rule := range rules {
		codes := rule.(object)["exitCodes"].(object)
		if slices.Contains(codes["values"].(list), any(int64(0))) == (codes["operator"] == "In") {
			return true
		}
	}
	return false
}

func indented(pod object) string {
	text, err := json.MarshalIndent(pod, "", "  ")
	return fmt.Sprint(string(text), err)
}

// draw draws parts of valid pods.
type draw struct{ *rapid.T }

func (d draw) number(what string, from, to int) int64 {
	return int64(rapid.IntRange(from, to).Draw(d.T, what))
}

func (d draw) chance(what string, percent int) bool {
	return d.number(what, 1, 100) > int64(100-percent)
}

func (d draw) of(what string, values ...any) any {
	return values[d.number(what, 0, len(values)-1)]
}

// add adds each field to o, or leaves it out.
func (d draw) add(o object, percent int, fields object) object {
	for _, name := range slices.Sorted(maps.Keys(fields)) { // in one order: a seed shall draw the same pod again
		if d.chance(name, percent) {
			value := fields[name]
			if lazy, ok := value.(func() any); ok {
				value = lazy()
			}
			o[name] = value
		}
	}
	return o
}

// drawn is what the containers of one pod share.
type drawn struct {
	draw
	names []string // of all containers
	ports int64    // the last one given away: no host port twice in a pod
	never bool     // the pod's restartPolicy
}

func (d draw) pod(namespace string) (pod object, essentials []string) {
	regular, initial := int(d.number("containers", 1, 5)), int(d.number("initContainers", 0, 2))
	p := &drawn{draw: d, ports: 20000}
	for i := range regular + initial {
		p.names = append(p.names, fmt.Sprintf("%s-%d", d.of("name", "main", "mesh", "log", "x"), i))
	}
	policy := d.of("restartPolicy", "Never", "OnFailure", "Never", "OnFailure", "Never", "Always")
	p.never = policy == "Never"
	for _, name := range p.names[:regular] {
		if d.chance(name+" is essential", 30) {
			essentials = append(essentials, name)
		}
	}
	if essentials == nil {
		essentials = p.names[:1]
	}
	annotations := d.add(object{"example.com/a-b": "c"}, 20, object{
		api.OnFailureAnnotation: "Stop", api.RetentionAnnotation: "Forever",
		"kubectl.kubernetes.io/default-container": p.names[0],
	})
	d.add(annotations, 80, object{api.CompletionAnnotation: d.of("completion", "All", "All", "Any")})
	d.add(annotations, 8, object{api.StopDelayAnnotation: d.of("stop-delay", "0s", "5s")})
	spec := object{"restartPolicy": policy, "volumes": volumes(p.names)}
	d.add(spec, 25, object{
		"shareProcessNamespace": true, "hostNetwork": true, "terminationGracePeriodSeconds": d.number("grace", 5, 90),
		"activeDeadlineSeconds": int64(600), "automountServiceAccountToken": false, "enableServiceLinks": false,
		"securityContext":   object{"runAsUser": int64(1000), "fsGroup": int64(2000), "seccompProfile": object{"type": "RuntimeDefault"}},
		"resources":         object{"requests": object{"cpu": "64", "memory": "64Gi"}, "limits": object{"cpu": "128", "memory": "128Gi"}},
		"schedulingGates":   list{object{"name": "example.com/gate"}},
		"readinessGates":    list{object{"conditionType": "example.com/ready"}},
		"tolerations":       list{object{"operator": "Exists"}},
		"os":                object{"name": "linux"},
		"dnsPolicy":         "Default",
		"hostAliases":       list{object{"ip": "127.0.0.1", "hostnames": list{"here.example.com"}}},
		"priorityClassName": "system-node-critical",
		"nodeSelector":      object{"example.com/nowhere": "true"},
	})
	spec["resourceClaims"] = list{object{"name": "device", "resourceClaimName": "device"}}
	var containers, inits list
	for _, name := range p.names[:regular] {
		c := p.container(name, true)
		p.restarts(c)
		containers = append(containers, c)
	}
	for _, name := range p.names[regular:] {
		native := d.chance(name+" is native", 50)
		c := p.container(name, native)
		if native {
			c["restartPolicy"] = "Always"
		}
		inits = append(inits, c)
	}
	spec["containers"] = containers
	if inits != nil {
		spec["initContainers"] = inits
	}
	return object{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": object{
			"namespace": namespace, "name": "drawn", "annotations": annotations,
			"labels": object{api.Label: strings.Join(essentials, api.NameSeparator)},
		},
		"spec": spec,
	}, essentials
}

func volumes(names []string) list {
	return list{
		object{"name": "scratch", "emptyDir": object{"medium": "Memory", "sizeLimit": "1Mi"}},
		object{"name": "config", "configMap": object{"name": "config", "optional": true}},
		object{"name": "disk", "persistentVolumeClaim": object{"claimName": "disk"}},
		object{"name": "raw", "persistentVolumeClaim": object{"claimName": "raw"}},
		object{"name": "limits", "downwardAPI": object{"items": list{object{
			"path": "limit", "resourceFieldRef": object{"containerName": names[len(names)/2], "resource": "limits.memory", "divisor": "1Mi"},
		}}}},
		object{"name": "all", "projected": object{"sources": list{object{"secret": object{"name": "secret", "optional": true}}}}},
	}
}

// restarts gives a regular container a policy of its own.
func (p *drawn) restarts(c object) {
	if !p.chance("own restartPolicy", 12) {
		return
	}
	c["restartPolicy"] = p.of("own restartPolicy is", "Never", "OnFailure", "Always")
	p.add(c, 50, object{"restartPolicyRules": list{
		object{"action": p.of("action", "Restart", "RestartAllContainers"), "exitCodes": object{
			"operator": p.of("operator", "In", "NotIn"), "values": list{p.of("exit code", int64(0), int64(42)), int64(43)},
		}},
	}})
}

// container is a regular one or native sidecar, or else a plain init container,
// which has neither probes nor hooks.
func (p *drawn) container(name string, lasting bool) object {
	c := p.add(object{"name": name, "image": "example.com/image:1"}, 30, object{
		"command": list{"sh", "-c"}, "args": list{"exec $(PROGRAM)"}, "workingDir": "/work", "imagePullPolicy": "Always",
		"stdin": true, "stdinOnce": true, "tty": true,
		"terminationMessagePath": "/last", "terminationMessagePolicy": "FallbackToLogsOnError",
		"ports": func() any { return p.somePorts() }, "env": func() any { return p.env() },
		"envFrom": list{
			object{"prefix": "A_", "configMapRef": object{"name": "config", "optional": true}},
			object{"secretRef": object{"name": "secret"}},
		},
		"resources": func() any { return p.resources() }, "securityContext": func() any { return p.securityContext() },
		"volumeMounts":  func() any { return p.mounts() },
		"volumeDevices": list{object{"name": "raw", "devicePath": "/dev/raw"}},
		"resizePolicy": list{object{"resourceName": "cpu", "restartPolicy": "NotRequired"},
			object{"resourceName": "memory", "restartPolicy": map[bool]string{true: "RestartContainer", false: "NotRequired"}[lasting && !p.never]}},
	})
	if lasting {
		p.add(c, 25, object{
			"livenessProbe":  func() any { return p.probe(false) },
			"readinessProbe": func() any { return p.probe(true) },
			"startupProbe":   func() any { return p.probe(false) },
			"lifecycle": func() any {
				return p.add(object{"preStop": p.handler(true)}, 50, object{"postStart": func() any { return p.handler(true) }})
			},
		})
	}
	return c
}

func (p *drawn) somePorts() any {
	var ports list
	for i := range p.number("ports", 1, 3) {
		p.ports++
		ports = append(ports, p.add(object{"containerPort": p.ports}, 50, object{
			"name": fmt.Sprintf("port-%d", i), "protocol": p.of("protocol", "TCP", "UDP", "SCTP"), "hostPort": p.ports, "hostIP": "127.0.0.1",
		}))
	}
	return ports
}

func (p *drawn) env() any {
	env := list{object{"name": "PROGRAM", "value": "true"}}
	for name, source := range map[string]object{
		"NAME":   {"fieldRef": object{"fieldPath": "metadata.annotations['example.com/a-b']"}},
		"IP":     {"fieldRef": object{"apiVersion": "v1", "fieldPath": "status.podIP"}},
		"LIMIT":  {"resourceFieldRef": object{"containerName": p.of("whose limit", p.names[0], p.names[len(p.names)-1]), "resource": "limits.cpu", "divisor": "1m"}},
		"OWN":    {"resourceFieldRef": object{"resource": "requests.memory"}},
		"SECRET": {"secretKeyRef": object{"name": "secret", "key": "k", "optional": true}},
		"CONFIG": {"configMapKeyRef": object{"name": "config", "key": "k"}},
		"FILE":   {"fileKeyRef": object{"volumeName": "scratch", "path": "env", "key": "K", "optional": true}},
	} {
		env = append(env, object{"name": name, "valueFrom": source})
	}
	slices.SortFunc(env, func(a, b any) int { return strings.Compare(a.(object)["name"].(string), b.(object)["name"].(string)) })
	from := p.number("first variable", 0, len(env)-1)
	return env[from:]
}

func (p *drawn) resources() any {
	requests, limits := object{}, object{}
	for name, sizes := range map[string][]any{"cpu": {"10m", "1"}, "memory": {"16Mi", "1Gi"}, "ephemeral-storage": {"1Mi", "1Gi"}} {
		requests[name], limits[name] = sizes[0], sizes[1]
	}
	r := p.add(object{}, 60, object{"requests": requests, "limits": limits, "claims": list{object{"name": "device"}}})
	if p.chance("equal", 30) { // Guaranteed, if all containers draw it
		return object{"requests": limits, "limits": limits}
	}
	if r["limits"] != nil && p.chance("extended", 30) {
		limits["example.com/gpu"], requests["example.com/gpu"] = "1", "1"
	}
	return r
}

func (p *drawn) securityContext() any {
	return p.add(object{}, 30, object{
		"runAsUser": int64(65532), "runAsGroup": int64(65532), "runAsNonRoot": true, "readOnlyRootFilesystem": true,
		"allowPrivilegeEscalation": false, "procMount": "Default",
		"capabilities":    object{"drop": list{"ALL"}, "add": list{"NET_BIND_SERVICE"}},
		"seccompProfile":  object{"type": "Localhost", "localhostProfile": "a.json"},
		"appArmorProfile": object{"type": "Unconfined"},
		"seLinuxOptions":  object{"level": "s0:c1,c2"},
	})
}

func (p *drawn) mounts() any {
	mounts := list{
		object{"name": "scratch", "mountPath": "/scratch", "subPath": "a/b"},
		object{"name": "scratch", "mountPath": "/named", "subPathExpr": "$(PROGRAM)"},
		object{"name": "config", "mountPath": "/config", "readOnly": true, "recursiveReadOnly": "IfPossible"},
		object{"name": "disk", "mountPath": "/disk", "mountPropagation": "HostToContainer"},
		object{"name": "limits", "mountPath": "/limits"},
		object{"name": "all", "mountPath": "/all"},
	}
	return mounts[p.number("first mount", 0, len(mounts)-1):]
}

func (p *drawn) probe(readiness bool) any {
	probe := p.add(p.handler(false), 40, object{
		"initialDelaySeconds": int64(1), "timeoutSeconds": int64(2), "periodSeconds": int64(3), "failureThreshold": int64(4),
	})
	if readiness {
		return p.add(probe, 40, object{"successThreshold": int64(2)})
	}
	return p.add(probe, 40, object{"terminationGracePeriodSeconds": int64(5)})
}

// handler is what a probe or a hook does; gRPC is for probes alone, sleep for hooks.
func (p *drawn) handler(hook bool) object {
	handlers := []any{
		object{"exec": object{"command": list{"true"}}},
		object{"httpGet": object{"path": "/ready", "port": "port-0", "scheme": "HTTPS", "httpHeaders": list{object{"name": "A", "value": "b"}}}},
		object{"tcpSocket": object{"port": int64(8080), "host": "127.0.0.1"}},
		object{"grpc": object{"port": int64(8080), "service": "s"}},
	}
	if hook {
		handlers[3] = object{"sleep": object{"seconds": int64(1)}}
	}
	return p.of("handler", handlers...).(object)
}
