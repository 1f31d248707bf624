package oracle

import (
	"testing"

	"pgregory.net/rapid"
)

// Check checks the property of ten times as many draws as [rapid.Check]: the facts
// about a pod have many combinations.
func Check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	for range 10 {
		rapid.Check(t, property)
	}
}

// Last is the latest second of anything drawn. It is small, so that much falls
// into one second.
const Last = 6

// Draw draws facts about a pod with at least one essential container.
func Draw(t *rapid.T) *Facts {
	f := &Facts{
		RestartPolicy: rapid.SampledFrom([]string{"Never", "OnFailure", "Always", ""}).Draw(t, "restartPolicy"),
		All:           rapid.Bool().Draw(t, "completion All"),
		Stop:          rapid.Bool().Draw(t, "on-failure Stop"),
	}
	for i, name := range []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "containers")] {
		c := DrawState(t, Container{Name: name, Essential: i == 0 || rapid.Bool().Draw(t, name+" is essential")})
		if seldom(t, name+" has a policy") {
			c.Policy = rapid.SampledFrom([]string{"Never", "OnFailure", "Always"}).Draw(t, name+" policy")
		}
		for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, name+" rules") {
			c.Rules = append(c.Rules, Rule{
				Action: rapid.SampledFrom([]string{"Restart", "RestartAllContainers", "Frobnicate"}).Draw(t, "action"),
				In:     rapid.Bool().Draw(t, "In"),
				Codes:  rapid.SliceOfN(rapid.SampledFrom([]int32{0, 1, 137}), 1, 2).Draw(t, "codes"),
			})
		}
		f.Containers = append(f.Containers, c)
	}
	f.drawOutside(t)
	if seldom(t, "all containers are restarted") {
		f.RestartedAll = new(second(t, "restarted at"))
	}
	phase := rapid.SampledFrom([]string{"", "", "", "", "Succeeded", "Failed"})
	f.Stopped, f.Delayed, f.OldVersion = phase.Draw(t, "stopped"), phase.Draw(t, "delayed"), phase.Draw(t, "old record")
	return f
}

// DrawState draws what happened to the container.
func DrawState(t *rapid.T, c Container) Container {
	code := rapid.SampledFrom([]int32{0, 0, 1, 137})
	c.State = rapid.SampledFrom([]State{Running, Waiting, Exited, Exited}).Draw(t, c.Name+" state")
	c.Exit, c.Before, c.Unreported = Exit{}, nil, false
	latest := Last
	if c.State == Exited {
		c.Exit = Exit{code.Draw(t, "exit code"), second(t, "exit")}
		latest = c.Exit.At
		if rapid.IntRange(0, 9).Draw(t, "known") == 0 {
			c.Exit.At, latest = Unknown, Last
		}
	}
	if seldom(t, c.Name+" lived before") {
		c.Before = &Exit{code.Draw(t, "exit code before"), rapid.IntRange(0, latest).Draw(t, "exit before")}
	}
	c.Unreported = rapid.IntRange(0, 9).Draw(t, "reported") == 0
	return c
}

func (f *Facts) drawOutside(t *rapid.T) {
	if seldom(t, "deletion") {
		f.Deleted = new(second(t, "deleted at"))
		if rapid.Bool().Draw(t, "has grace") {
			f.Grace = new(rapid.IntRange(0, 60).Draw(t, "grace"))
		}
	}
	if f.Stopped == "" && seldom(t, "deadline") {
		f.Deadline = new(rapid.IntRange(1, Last).Draw(t, "deadline at"))
	}
	if seldom(t, "disruption") {
		f.Disrupted = rapid.SampledFrom([]string{
			"EvictionByEvictionAPI", "PreemptionByScheduler", "DeletionByTaintManager", "DeletionByPodGC", "TerminationByKubelet",
		}).Draw(t, "disruption reason")
		f.DisruptAt = second(t, "disrupted at")
	}
	f.Reason = rapid.SampledFrom([]string{"", "", "", "DeadlineExceeded", "Evicted", "Terminated"}).Draw(t, "reason")
}

func second(t *rapid.T, label string) int { return rapid.IntRange(0, Last).Draw(t, label) }

func seldom(t *rapid.T, label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 }
