package chart

import (
	"strings"
	"testing"
)

// stoppedPods returns the README's command that lists the pods that were stopped
// and have not ended.
func stoppedPods(t *testing.T) string {
	t.Helper()
	_, rest, found := strings.Cut(string(chartFile(t, "README.md")), "kubectl get pods --all-namespaces")
	if !found {
		t.Fatal("README.md has no command that lists stopped pods")
	}
	command, _, _ := strings.Cut(rest, "\n```")
	return "kubectl get pods --all-namespaces" + strings.ReplaceAll(command, " \\\n  ", " ") + "\n"
}

func TestNotes(t *testing.T) {
	const (
		optIn         = "kubectl label namespace NAMESPACE essential-containers=enabled"
		ignoreWarning = "WARNING: webhook.failurePolicy is Ignore"
		notAdopted    = "neither checked nor\ntracked: its sidecars keep it running for ever."
		adopted       = "neither checked nor\ntracked until the reaper adopts it."
		forgeWarning  = "WARNING: admissionPolicies.changes does not deny. A user who may write pods, their status or their bindings can " +
			"have the reaper\nstop and delete them.\n"
		delayWarning = "WARNING: defaults.mode is Native and defaults.stopDelay 30s."

		stopReaper = "kubectl scale --namespace apps --replicas=0 deployment/essential-containers-reaper\n"

		wait      = "certificate/essential-containers-webhook"
		secrets   = "kubectl delete secret --namespace apps essential-containers-webhook-tls essential-containers-ca\n"
		ownIssuer = "kubectl delete secret --namespace apps essential-containers-webhook-tls\n"
	)
	for name, test := range map[string]struct {
		set            string
		want, unwanted []string
	}{
		"the defaults": {
			want:     []string{optIn, wait, stopReaper, stoppedPods(t), secrets},
			unwanted: []string{"WARNING"},
		},
		"failures are ignored": {
			set:      "webhook.failurePolicy=Ignore",
			want:     []string{optIn, ignoreWarning, notAdopted},
			unwanted: []string{forgeWarning},
		},
		"failures are ignored and made up for": {
			set:      "webhook.failurePolicy=Ignore,reaper.adopt=true",
			want:     []string{ignoreWarning, adopted},
			unwanted: []string{notAdopted},
		},
		"tracking can be forged": {
			set:      "admissionPolicies.enabled=false",
			want:     []string{forgeWarning},
			unwanted: []string{ignoreWarning},
		},
		"native sidecars, and a delay that they cannot have": {
			set:  "defaults.mode=Native,defaults.stopDelay=30s",
			want: []string{delayWarning},
		},
		"native sidecars": {
			set:      "defaults.mode=Native,defaults.stopDelay=0m",
			unwanted: []string{"WARNING"},
		},
		"a delay": {
			set:      "defaults.stopDelay=30s",
			unwanted: []string{"WARNING"},
		},
		"namespaces opt in by another label": {
			set:      "webhook.namespaceSelector.matchLabels.essential-containers=null,webhook.namespaceSelector.matchLabels.batch=yes",
			want:     []string{"       matchLabels:\n         batch:"},
			unwanted: []string{optIn},
		},
		"an issuer of the user's leaves one Secret": {
			set:      "certificate.issuerRef.name=corporate",
			want:     []string{ownIssuer},
			unwanted: []string{secrets},
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runHelm(t, "install", release, chartDir, "--namespace", namespace, "--dry-run=client", "--set", test.set)
			if err != nil {
				t.Fatal(err)
			}
			_, notes, found := strings.Cut(out, "\nNOTES:\n")
			if !found {
				t.Fatalf("no notes in:\n%s", out)
			}
			for _, text := range test.want {
				if !strings.Contains(notes, text) {
					t.Errorf("no %q in:\n%s", text, notes)
				}
			}
			for _, text := range test.unwanted {
				if strings.Contains(notes, text) {
					t.Errorf("%q in:\n%s", text, notes)
				}
			}
		})
	}
}
