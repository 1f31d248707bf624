//go:build e2e

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	utilversion "k8s.io/apimachinery/pkg/util/version"

	"github.com/essential-containers/essential-containers/api"
)

// since are the cases of what Kubernetes has had on by default since that version.
var since = map[string]string{
	"Resized":            "1.33", // in-place resize
	"QuotaScopes":        "1.33", // quotas refuse a new deadline
	"HostPorts":          "1.33", // the scheduler knows those of native sidecars
	"ServiceOfASidecar":  "1.33", // Services find ports of native sidecars by name
	"--keep-annotations": "1.31", // a flag of kubectl debug; before, it keeps them always
	"RestartRules":       "1.35", // restart policies of regular containers
	"OwnRestartPolicies": "1.35",
	"NativeProperty":     "1.35", // environment variables from files, too
}

// isTooOld returns whether the API server or a kubelet is too old for the case.
func isTooOld(t testing.TB, name string) bool {
	t.Helper()
	version, ok := since[name]
	return ok && oldest(t).LessThan(utilversion.MustParseGeneric(version))
}

// oldest is the version of the API server, or that of a kubelet if it is lower.
func oldest(t testing.TB) *utilversion.Version {
	t.Helper()
	cluster := clusterOf(t)
	server, err := cluster.Clientset.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	lowest := utilversion.MustParseGeneric(server.GitVersion)
	var nodes corev1.NodeList
	if err := cluster.List(t.Context(), &nodes); err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes.Items {
		if v := utilversion.MustParseGeneric(node.Status.NodeInfo.KubeletVersion); v.LessThan(lowest) {
			lowest = v
		}
	}
	return lowest
}

// TestEndToEnd installs the chart once. The cases that fill the node, or stop a part of
// it or of the installation, come first. All others have namespaces of their own and run in parallel.
func TestEndToEnd(t *testing.T) {
	parallelToTheOther(t)
	install(t)
	t.Run("FullNode", testFullNode)
	t.Run("PreemptedByKubelet", testPreemptedByKubelet)
	t.Run("Burst", testBurst)
	t.Run("KubeletDown", testKubeletDown)
	t.Run("WebhookDown", testWebhookDown)
	t.Run("StopOutlastsOutages", testStopOutlastsOutages)
	t.Run("LeaderKilled", testLeaderKilled)
	t.Run("NativeByDefault", testNativeByDefault)
	parallel := func(group string, cases map[string]func(*testing.T)) {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			for name, test := range cases {
				if isTooOld(t, name) {
					continue
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t)
				})
			}
		})
	}
	bothModes := map[string]func(*testing.T, api.Mode){
		"Job":                    testJob,
		"CronJob":                testCronJob,
		"IndexedJob":             testIndexedJob,
		"BarePod":                testBarePod,
		"SlowSidecar":            testSlowSidecar,
		"CrashLoopingSidecar":    testCrashLoopingSidecar,
		"SidecarFailsOnSigterm":  testSidecarFailsOnSigterm,
		"SidecarIgnoresSigterm":  testSidecarIgnoresSigterm,
		"FailureStops":           testFailureStops,
		"FailsOnce":              testFailsOnceUnderOnFailure,
		"FailsUnderOnFailure":    testFailsUnderOnFailure,
		"OutOfMemory":            testOutOfMemory,
		"CannotRun":              testCannotRun,
		"DeadlineExceeded":       testDeadlineExceeded,
		"RestartRules":           testRestartRules,
		"AllEssentialContainers": testAllEssentialContainers,
		"Retention":              testRetention,
		"PolicyEdited":           testPolicyEdited,
		"NativeSidecar":          testNativeSidecar,
		"InjectedSidecars":       testInjectedSidecars,
		"KilledByProbe":          testKilledByProbe,
		"Resized":                testResized,
		"ImageChanged":           testImageChanged,
		"SidecarFails":           testSidecarFails,
		"FailsUnderNever":        testFailsUnderNever,
		"HostPort":               testHostPort,
		"KeptForTheirCreators":   testKeptForTheirCreators,
	}
	stops := map[string]func(*testing.T){
		"Deployment":             testDeployment,
		"StatefulSet":            testStatefulSet,
		"TwoEssentialContainers": testTwoEssentialContainers,
		"StopDelay":              testStopDelay,
		"EndedWithinStopDelay":   testEndedWithinStopDelay,
		"EvictedMainExitsWell":   testEvictedMainExitsWell,
		"PostStartHooks":         testPostStartHooks,
		"SpinningDeployment":     testSpinningDeployment,
		"KeptPods":               testKeptPods,
		"OptedOutAfterStop":      testOptedOutAfterStop,
		"QuotaScopes":            testQuotaScopes,
		"HelmTest":               testHelmTest,
	}
	native := map[string]func(*testing.T){
		"Refuses":        testNativeRefuses,
		"Meshes":         testMeshes,
		"NativeProperty": testNativeProperty,
	}
	for name, test := range bothModes {
		stops[name], native[name] = in(api.ModeReap, test), in(api.ModeNative, test)
	}
	parallel("Stops", stops)
	parallel("StopsNative", native)
	parallel("NativeMeaning", nativeMeaning)
	parallel("Waits", map[string]func(*testing.T){
		"SidecarEndsFirst":            testSidecarEndsFirst,
		"FailureIgnored":              testFailureIgnored,
		"NamespaceNotOptedIn":         testNamespaceNotOptedIn,
		"PodWithoutLabel":             testPodWithoutLabel,
		"LabelRemoved":                testLabelRemoved,
		"StaticPod":                   testStaticPod,
		"BroughtAnnotations":          testBroughtAnnotations,
		"RejectsPods":                 testRejectsPods,
		"WarnsAtApply":                testWarnsAtApply,
		"RefusesProbesUnderAlways":    testRefusesProbesUnderAlways,
		"RejectsPolicies":             testRejectsPolicies,
		"RejectsWorkloads":            testRejectsWorkloads,
		"RejectsCronJobAtApply":       testRejectsCronJobAtApply,
		"WorkloadFromBefore":          testWorkloadFromBefore,
		"Untracked":                   testUntracked,
		"TrackingCannotBeForged":      testTrackingCannotBeForged,
		"OrdinaryCommands":            testOrdinaryCommands,
		"LabelsOfOtherWebhooks":       testLabelsOfOtherWebhooks,
		"RejectsPodsThroughAJob":      testRejectsPodsThroughAJob,
		"WarnsOfOneContainer":         testWarnsOfOneContainer,
		"RestrictedPodSecurity":       testRestrictedPodSecurity,
		"ReaperMayDoNothingElse":      testReaperMayDoNothingElse,
		"CertificateStateIsExplained": testCertificateStateIsExplained,
	})
	parallel("Documents", map[string]func(*testing.T){"Samples": testSamples, "Demo": testDemo})
}

// TestInstallation changes an installation: new certificates, values, upgrades. It has
// the long outage of the reaper, too, so that both tests take about as long. The cases run one after the other.
func TestInstallation(t *testing.T) {
	parallelToTheOther(t)
	before := clusterWide(t)
	install(t)
	t.Run("ReaperDown", testReaperDown)
	t.Run("CertificateRenewed", testCertificateRenewed)
	t.Run("Adoption", testAdoption)
	t.Run("Helm4", func(t *testing.T) { testHelm(t, helm, before) })
	t.Run("Helm3", func(t *testing.T) { testHelm(t, helm3, before) })
}

// parallelToTheOther lets the two tests run in parallel if each has a cluster.
func parallelToTheOther(t *testing.T) {
	if len(clusters) > 1 {
		t.Parallel()
	}
}

func install(t *testing.T) {
	if err := clusterOf(t).Install(t.Context(), chart, image, func(s string) { t.Log(s) }); err != nil {
		t.Fatal(err)
	}
}
