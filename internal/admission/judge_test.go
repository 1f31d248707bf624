package admission

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/essential-containers/essential-containers/test/manifest"
)

const (
	mustCompletion = `must be Any or All`
	mustOnFailure  = `must be Stop or Ignore`
	mustDelay      = `must be a duration such as 90s, 1h30m or 2d`
	mustRetention  = `must be a duration such as 90s, 1h30m or 2d, or Forever`
	notNegative    = `must not be negative`
)

// What is said about pods is judged alike in a pod and in the template of every
// workload; the paths, which begin with metadata in a pod, say where it is.
func TestPodsAndTemplatesAreJudgedAlike(t *testing.T) {
	const label = "metadata.labels[essential-containers]: "
	at := func(name string) string { return "metadata.annotations[essential-containers/" + name + "]: " }
	invalid := func(name, value, must string) string {
		return at(name) + fmt.Sprintf("Invalid value: %q: %s", value, must)
	}
	unknown := func(name string) string { return at(name) + "unknown annotation, ignored" }
	suggests := func(name, right string) string {
		return unknown(name) + fmt.Sprintf("; did you mean %q?", "essential-containers/"+right)
	}
	noMian := label + `Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`
	places := everyPlace()
	both := func() *manifest.PodBuilder { return manifest.PodNever("main", "proxy").Label("main_proxy") }

	for name, tt := range map[string]struct {
		pod         *manifest.PodBuilder // default: main and proxy, labelled main, under restartPolicy Never
		annotations map[string]string    // keys without "essential-containers/"
		deny        []string
		warn        []string
	}{
		"no annotation":                 {},
		"several names":                 {pod: manifest.Pod("main", "proxy").Label("proxy_main")},
		"completion Any":                {pod: both(), annotations: map[string]string{"completion": "Any"}},
		"completion All":                {pod: both(), annotations: map[string]string{"completion": "All"}},
		"on-failure Ignore":             {annotations: map[string]string{"on-failure": "Ignore"}},
		"on-failure Stop":               {annotations: map[string]string{"on-failure": "Stop"}},
		"a stop-delay in seconds":       {annotations: map[string]string{"stop-delay": "90s"}},
		"a stop-delay of several units": {annotations: map[string]string{"stop-delay": "1h30m0.5s"}},
		"a stop-delay of nothing":       {annotations: map[string]string{"stop-delay": "0s"}},
		"nothing needs no unit":         {annotations: map[string]string{"stop-delay": "0", "retention": "0"}},
		"the longest stop-delay":        {annotations: map[string]string{"stop-delay": "2562047h"}},
		"a retention":                   {annotations: map[string]string{"retention": "10m"}},
		"a retention Forever":           {annotations: map[string]string{"retention": "Forever"}},
		"every policy at once":          {pod: both(), annotations: map[string]string{"completion": "All", "on-failure": "Stop", "stop-delay": "5s", "retention": "1h"}},

		"completion in small letters": {annotations: map[string]string{"completion": "any"}, deny: []string{invalid("completion", "any", mustCompletion)}},
		"completion in capitals":      {annotations: map[string]string{"completion": "ALL"}, deny: []string{invalid("completion", "ALL", mustCompletion)}},
		"an empty completion":         {annotations: map[string]string{"completion": ""}, deny: []string{invalid("completion", "", mustCompletion)}},
		"completion with a space":     {annotations: map[string]string{"completion": "All "}, deny: []string{invalid("completion", "All ", mustCompletion)}},
		"two completions":             {annotations: map[string]string{"completion": "Any,All"}, deny: []string{invalid("completion", "Any,All", mustCompletion)}},
		"completion of on-failure":    {annotations: map[string]string{"completion": "Stop"}, deny: []string{invalid("completion", "Stop", mustCompletion)}},
		"on-failure in small letters": {annotations: map[string]string{"on-failure": "stop"}, deny: []string{invalid("on-failure", "stop", mustOnFailure)}},
		"on-failure in capitals":      {annotations: map[string]string{"on-failure": "IGNORE"}, deny: []string{invalid("on-failure", "IGNORE", mustOnFailure)}},
		"an empty on-failure":         {annotations: map[string]string{"on-failure": ""}, deny: []string{invalid("on-failure", "", mustOnFailure)}},
		"on-failure as a boolean":     {annotations: map[string]string{"on-failure": "true"}, deny: []string{invalid("on-failure", "true", mustOnFailure)}},
		"on-failure of completion":    {annotations: map[string]string{"on-failure": "All"}, deny: []string{invalid("on-failure", "All", mustOnFailure)}},

		"an empty stop-delay":                       {annotations: map[string]string{"stop-delay": ""}, deny: []string{invalid("stop-delay", "", mustDelay)}},
		"a stop-delay without a unit":               {annotations: map[string]string{"stop-delay": "10"}, deny: []string{invalid("stop-delay", "10", mustDelay)}},
		"a unit without a number":                   {annotations: map[string]string{"stop-delay": "s"}, deny: []string{invalid("stop-delay", "s", mustDelay)}},
		"a stop-delay in weeks":                     {annotations: map[string]string{"stop-delay": "1w"}, deny: []string{invalid("stop-delay", "1w", mustDelay)}},
		"a unit in capitals":                        {annotations: map[string]string{"stop-delay": "10S"}, deny: []string{invalid("stop-delay", "10S", mustDelay)}},
		"a unit as a word":                          {annotations: map[string]string{"stop-delay": "10 seconds"}, deny: []string{invalid("stop-delay", "10 seconds", mustDelay)}},
		"a stop-delay of ISO 8601":                  {annotations: map[string]string{"stop-delay": "PT10S"}, deny: []string{invalid("stop-delay", "PT10S", mustDelay)}},
		"a space before the unit":                   {annotations: map[string]string{"stop-delay": "10 s"}, deny: []string{invalid("stop-delay", "10 s", mustDelay)}},
		"a negative stop-delay":                     {annotations: map[string]string{"stop-delay": "-1ns"}, deny: []string{invalid("stop-delay", "-1ns", notNegative)}},
		"a stop-delay that no number holds":         {annotations: map[string]string{"stop-delay": "2562048h"}, deny: []string{invalid("stop-delay", "2562048h", mustDelay)}},
		"a stop-delay of more digits than a number": {annotations: map[string]string{"stop-delay": "99999999999999999999s"}, deny: []string{invalid("stop-delay", "99999999999999999999s", mustDelay)}},
		"a stop-delay Forever":                      {annotations: map[string]string{"stop-delay": "Forever"}, deny: []string{invalid("stop-delay", "Forever", mustDelay)}},

		"an empty retention":               {annotations: map[string]string{"retention": ""}, deny: []string{invalid("retention", "", mustRetention)}},
		"a retention without a unit":       {annotations: map[string]string{"retention": "600"}, deny: []string{invalid("retention", "600", mustRetention)}},
		"a retention in weeks":             {annotations: map[string]string{"retention": "1w"}, deny: []string{invalid("retention", "1w", mustRetention)}},
		"a negative retention":             {annotations: map[string]string{"retention": "-10m"}, deny: []string{invalid("retention", "-10m", notNegative)}},
		"a retention that no number holds": {annotations: map[string]string{"retention": "2562048h"}, deny: []string{invalid("retention", "2562048h", mustRetention)}},
		"forever in small letters":         {annotations: map[string]string{"retention": "forever"}, deny: []string{invalid("retention", "forever", mustRetention)}},
		"a retention Never":                {annotations: map[string]string{"retention": "Never"}, deny: []string{invalid("retention", "Never", mustRetention)}},
		"a value is shown in part if it is long": {annotations: map[string]string{"retention": strings.Repeat("9", 1<<16)},
			deny: []string{invalid("retention", strings.Repeat("9", 97)+"...", mustRetention)}},

		"every wrong policy gets its own error": {
			annotations: map[string]string{"retention": "1w", "stop-delay": "-5s", "on-failure": "Fail", "completion": "Each"},
			deny: []string{invalid("completion", "Each", mustCompletion), invalid("on-failure", "Fail", mustOnFailure),
				invalid("stop-delay", "-5s", notNegative), invalid("retention", "1w", mustRetention)}},
		"one wrong policy among right ones": {
			annotations: map[string]string{"completion": "All", "on-failure": "Stop", "stop-delay": "soon", "retention": "Forever"},
			deny:        []string{invalid("stop-delay", "soon", mustDelay)}},
		"errors of the label come first": {
			pod: manifest.Pod("main", "proxy").Label("mian"), annotations: map[string]string{"completion": "Each"},
			deny: []string{noMian, invalid("completion", "Each", mustCompletion)}},
		"a right policy does not save a wrong label": {
			pod: manifest.Pod("main", "proxy").Label("mian"), annotations: map[string]string{"completion": "All"}, deny: []string{noMian}},
		"an empty label": {
			pod: manifest.Pod("main", "proxy").Label(""), deny: []string{label + `Invalid value: "": must name an essential container; the pod has "main", "proxy"`}},
		"an init container": {
			pod:  manifest.Pod("main", "proxy").InitContainers("setup").Label("setup"),
			deny: []string{label + `Invalid value: "setup": is an init container; only a regular container can be essential; the pod has "main", "proxy"`}},
		"a name twice": {
			pod: manifest.Pod("main", "proxy").Label("main_main"), deny: []string{label + `Invalid value: "main_main": container "main" is named twice`}},

		"a mistyped retention":           {annotations: map[string]string{"retantion": "10m"}, warn: []string{suggests("retantion", "retention")}},
		"a mistyped stop-delay":          {annotations: map[string]string{"stopdelay": "10m"}, warn: []string{suggests("stopdelay", "stop-delay")}},
		"a key with a capital":           {annotations: map[string]string{"Completion": "all"}, warn: []string{suggests("Completion", "completion")}},
		"a key like none":                {annotations: map[string]string{"x": ""}, warn: []string{unknown("x")}},
		"a key with nothing":             {annotations: map[string]string{"": ""}, warn: []string{unknown("")}},
		"every unknown key, in order":    {annotations: map[string]string{"y": "", "x": ""}, warn: []string{unknown("x"), unknown("y")}},
		"a right key and an unknown one": {annotations: map[string]string{"retention": "10m", "x": ""}, warn: []string{unknown("x")}},
		"an unknown key and an error": {annotations: map[string]string{"retantion": "10m", "completion": "all"},
			deny: []string{invalid("completion", "all", mustCompletion)}, warn: []string{suggests("retantion", "retention")}},
		"keys of others": {pod: manifest.Pod("main", "proxy").Label("main").Annotations(map[string]string{
			"retantion": "x", "example.com/retantion": "x", "essential-containers.example.com/retantion": "x", "essential-containersretantion": "x"})},

		"without the label, nothing is judged": {
			pod: manifest.Pod("main", "proxy"), annotations: map[string]string{"completion": "all", "retantion": "x"}},
		"on a mirror pod, nothing is judged": {
			pod:         manifest.Pod("main", "proxy").Label("mian").Annotations(map[string]string{mirrorKey: "hash"}),
			annotations: map[string]string{"completion": "all", "retantion": "x"},
			warn:        []string{label + "ignored: the API cannot stop a static pod"}},
	} {
		pod := tt.pod
		if pod == nil {
			pod = manifest.PodNever("main", "proxy").Label("main")
		}
		for key, value := range tt.annotations {
			pod.Annotate("essential-containers/"+key, value)
		}
		for kind, where := range places {
			t.Run(name+"/"+kind, func(t *testing.T) {
				answer := where.ask(t, pod)
				if diff := cmp.Diff(where.prefixed(tt.warn), answer.Warnings, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
				want := strings.Join(where.prefixed(tt.deny), ", ")
				if len(tt.deny) > 1 {
					want = "[" + want + "]"
				}
				if diff := cmp.Diff(want, message(answer)); diff != "" {
					t.Errorf("denial (-want +got):\n%s", diff)
				}
			})
		}
	}
}
