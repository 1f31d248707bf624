package main

import (
	"encoding/json"
	"testing"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/webhook"
)

// The webhook's own answers, and what is made of them.
func TestOnlyAnswersThatConvertAreMeasured(t *testing.T) {
	server := admissionServer()
	t.Cleanup(server.Close)
	const sidecars = 5
	answer := func(path string, mode api.Mode) []byte {
		raw, err := json.Marshal(modePod("import", mode, sidecars))
		if err != nil {
			t.Fatal(err)
		}
		body, err := reviewAround("import", raw)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := post(t.Context(), server.Client(), server.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	native, reap, none := answer(webhook.PodsPath, api.ModeNative), answer(webhook.PodsPath, api.ModeReap), answer(allowPath, api.ModeNative)
	for sentence, c := range map[string]struct {
		answer   []byte
		sidecars int
		fails    bool
	}{
		"all are converted":                     {native, toConvert(api.ModeNative, sidecars), false},
		"one is missing":                        {native, sidecars + 1, true},
		"mode Reap converts none":               {reap, toConvert(api.ModeReap, sidecars), false},
		"mode Reap where they should have been": {reap, sidecars, true},
		"a webhook that does nothing":           {none, 0, true},
	} {
		if err := checkPatch(c.answer, c.sidecars); (err != nil) != c.fails {
			t.Errorf("%s: %v", sentence, err)
		}
	}
}

func TestBothModesAreAskedAboutTheSamePod(t *testing.T) {
	native, reap := modePod("p", api.ModeNative, 20), modePod("p", api.ModeReap, 20)
	if len(native.Spec.Containers) != 21 || native.Annotations[api.ModeAnnotation] != "Native" || essential.IsTracked(native) {
		t.Errorf("%d containers, annotations %v", len(native.Spec.Containers), native.Annotations)
	}
	native.Annotations[api.ModeAnnotation] = reap.Annotations[api.ModeAnnotation]
	if encoded(t, native) != encoded(t, reap) {
		t.Error("they differ in more than the mode")
	}
}
