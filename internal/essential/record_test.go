package essential

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/essential-containers/essential-containers/api"
)

func TestParseRecord(t *testing.T) {
	const at = "2030-01-02T12:00:00Z"
	because := `Essential container "main" completed with exit code 0`
	for sentence, tt := range map[string]struct {
		text string
		want *Record // nil: none
	}{
		"a completion":                     {at + " Succeeded: " + because, &Record{noon, corev1.PodSucceeded, because}},
		"a failure":                        {at + " Failed: x", &Record{noon, corev1.PodFailed, "x"}},
		"a reason with colons and spaces":  {at + " Failed: a: b : c", &Record{noon, corev1.PodFailed, "a: b : c"}},
		"no reason":                        {at + " Succeeded: ", &Record{noon, corev1.PodSucceeded, ""}},
		"a time in another zone":           {"2030-01-02T13:00:00+01:00 Succeeded: x", &Record{noon, corev1.PodSucceeded, "x"}},
		"nothing":                          {"", nil},
		"the time alone, of a version 0.1": {"2030-01-02T12:00:00.123456789Z", nil},
		"no time":                          {"Succeeded: " + because, nil},
		"a time that is none":              {"yesterday Succeeded: " + because, nil},
		"a phase that is not terminal":     {at + " Running: " + because, nil},
		"a phase in small letters":         {at + " succeeded: " + because, nil},
		"no phase":                         {at + " " + because, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, ok := ParseRecord(tt.text)
			if ok != (tt.want != nil) {
				t.Fatalf("a record: %v", ok)
			}
			if ok && !cmp.Equal(*tt.want, got) {
				t.Errorf("got %+v, want %+v", got, *tt.want)
			}
		})
	}
}

// What the reaper writes, reaper and webhook can read, as long as the API server
// keeps the annotation's text as it is.
func TestWhatIsRecordedCanBeRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Record{
			At:      time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")),
			Phase:   rapid.SampledFrom([]corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed}).Draw(t, "phase"),
			Because: rapid.String().Draw(t, "because"),
		}
		got, ok := ParseRecord(want.String())
		want.At = want.At.Truncate(time.Second).UTC()
		if !ok || !cmp.Equal(want, got) {
			t.Fatalf("%+v reads as %+v, %v", want, got, ok)
		}
	})
}

func TestStopsAndDelaysAreToldApart(t *testing.T) {
	stop, delay := Record{noon, corev1.PodFailed, "stop"}, Record{noon, corev1.PodSucceeded, "delay"}
	old := Record{noon, corev1.PodSucceeded, "old"}
	const oldTime = "2030-01-02T12:00:00.001Z"
	type found struct{ stop, due, oldStop bool }
	for sentence, tt := range map[string]struct {
		pod  *podBuilder
		want found
		due  Record
	}{
		"none":                                {aPod(), found{}, Record{}},
		"a delay":                             {aPod().annotated(api.DueAnnotation, delay.String()), found{due: true}, delay},
		"a stop":                              {aPod().annotated(api.StoppedAnnotation, stop.String()), found{stop: true}, Record{}},
		"a stop after a delay":                {aPod().annotated(api.StoppedAnnotation, stop.String()).annotated(api.DueAnnotation, delay.String()), found{stop: true, due: true}, delay},
		"the delay of a version 0.1":          {aPod().old(corev1.ConditionFalse, "EssentialContainerCompleted", "old"), found{due: true}, old},
		"the stop of a version 0.1":           {aPod().old(corev1.ConditionTrue, "EssentialContainerCompleted", "old").annotated(api.StoppedAnnotation, oldTime), found{due: true, oldStop: true}, old},
		"a new delay counts more than an old": {aPod().annotated(api.DueAnnotation, delay.String()).old(corev1.ConditionFalse, "EssentialContainerFailed", "old"), found{due: true}, delay},
		"the condition of another project":    {aPod().conditioned("example.com/Stopped", corev1.ConditionTrue, ""), found{}, Record{}},
		"garbage":                             {aPod().annotated(api.DueAnnotation, "x").annotated(api.StoppedAnnotation, "y"), found{}, Record{}},
	} {
		t.Run(sentence, func(t *testing.T) {
			pod := tt.pod.build()
			_, isStopped := StopOf(pod)
			due, isDue := DueOf(pod)
			at, isOld := OldStop(pod)
			if got := (found{isStopped, isDue, isOld}); got != tt.want || IsStopped(pod) != tt.want.stop {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if isDue && !cmp.Equal(tt.due, due) {
				t.Errorf("got the delay %+v, want %+v", due, tt.due)
			}
			if isOld && !at.Equal(noon.Add(time.Millisecond)) {
				t.Errorf("an old version stopped it at %s", at)
			}
		})
	}
}
