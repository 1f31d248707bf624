package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/test/kube"
)

// programVolume marks a Deployment whose program is not the image's.
const programVolume = "program"

// runProgram builds one of the reapers that are here, in the folder of that name
// and with that build tag, and has the reaper's Deployment run it: it lies over
// the image's own, and has the folder of the clock beside it.
func (t *trial) runProgram(ctx context.Context, name string) error {
	folder := "/var/lib/faults-" + name // on the node
	program := filepath.Join(t.cluster.State(), folder, "reaper")
	build := exec.CommandContext(ctx, "go", "build", "-tags="+name, "-o", program, "github.com/essential-containers/essential-containers/test/faults/"+name)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the %s reaper: %w: %s", name, err, output)
	}
	deployment := &appsv1.Deployment{}
	deployment.Namespace, deployment.Name = kube.Release, kube.ReaperDeployment
	patch := fmt.Appendf(nil, `{"spec":{"template":{"spec":{"volumes":[`+
		`{"name":%[1]q,"hostPath":{"path":%[2]q,"type":"File"}},{"name":"clock","hostPath":{"path":%[3]q,"type":"DirectoryOrCreate"}}],`+
		`"containers":[{"name":"reaper","volumeMounts":[{"name":%[1]q,"mountPath":"/essential-containers"},{"name":"clock","mountPath":"/clock","readOnly":true}]}]}}}}`,
		programVolume, folder+"/reaper", clockFolder)
	if err := t.cluster.Patch(ctx, deployment, client.RawPatch(types.StrategicMergePatchType, patch)); err != nil {
		return fmt.Errorf("replacing the reaper: %w", err)
	}
	generation := deployment.Generation
	return kube.Await(ctx, 3*time.Minute, func(ctx context.Context) (bool, string) {
		if err := t.cluster.Get(ctx, client.ObjectKeyFromObject(deployment), deployment); err != nil {
			return false, err.Error()
		}
		s, want := deployment.Status, *deployment.Spec.Replicas
		return s.ObservedGeneration >= generation && s.UpdatedReplicas == want && s.AvailableReplicas == want && s.Replicas == want, "the " + name + " reaper does not run yet"
	})
}

// removeChanged uninstalls a release that an earlier run has changed: Helm leaves
// alone what others have added.
func (t *trial) removeChanged(ctx context.Context) error {
	deployment := &appsv1.Deployment{}
	err := t.cluster.Get(ctx, client.ObjectKey{Namespace: kube.Release, Name: kube.ReaperDeployment}, deployment)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	if slices.ContainsFunc(deployment.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == programVolume }) {
		role, binding := statusRights()
		for _, object := range []client.Object{role, binding} {
			if err := client.IgnoreNotFound(t.cluster.Delete(ctx, object)); err != nil {
				return err
			}
		}
		return t.cluster.Uninstall(ctx)
	}
	return nil
}
