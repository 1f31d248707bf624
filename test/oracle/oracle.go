// Package oracle says what a pod must end as. It is written from the tables of the
// design, not from the product's code, and shares none of that code: tests draw
// facts about a pod ([Draw]), show them to the product as a pod ([Facts.Pod]), and
// compare the product's answer with the oracle's.
package oracle

import (
	"fmt"
	"math"
	"slices"
)

// Facts are what happened to a pod. All times are seconds since its start.
type Facts struct {
	RestartPolicy string // of the pod; empty means Always
	Containers    []Container
	All           bool // completion: All, else Any
	Stop          bool // on-failure: Stop, else Ignore

	// What began to end the pod from outside, and when. Nil or empty: nothing did.
	Deleted   *int
	Grace     *int // of the deletion
	Deadline  *int // the user's own
	Disrupted string
	DisruptAt int
	Reason    string // of the phase Failed, as the kubelet wrote it

	RestartedAll *int // when the kubelet began to restart all containers in place

	// What the reaper has recorded: a phase, or nothing.
	Stopped, Delayed, OldVersion string
}

// Container is what happened to a regular container.
type Container struct {
	Name       string
	Essential  bool
	Policy     string // its own; empty: none
	Rules      []Rule
	State      State
	Exit       Exit  // if it has exited
	Before     *Exit // of its life before the present one
	Unreported bool  // the pod's status does not have it yet
}

// Rule is one of restartPolicyRules.
type Rule struct {
	Action string
	In     bool // else NotIn
	Codes  []int32
}

// State is what a container does now.
type State string

// The states of a container.
const (
	Running State = "running"
	Waiting State = "waiting"
	Exited  State = "exited"
)

// Exit is one end of a container.
type Exit struct {
	Code int32
	At   int // or Unknown
}

// Unknown is the time of an exit that the kubelet does not know.
const Unknown = math.MaxInt

// Because is what records say.
const Because = `Essential container "x" completed with exit code 0`

// Outcome is what the facts amount to.
type Outcome struct {
	Phase          string // Succeeded, Failed, or empty: undecided
	FailureIgnored bool
	By             []string // the sentences that may explain it: of all that happened in the deciding second
}

// Outcome is design, section 5, and the record of section 6.
func (f *Facts) Outcome() Outcome {
	if f.endedByKubelet() {
		return Outcome{} // the time of its start is unknown
	}
	for _, recorded := range []string{f.Stopped, f.Delayed, f.OldVersion} {
		if recorded != "" {
			return Outcome{Phase: recorded, By: []string{Because}}
		}
	}
	type end struct {
		at       int
		sentence string
	}
	var completions, failures []end
	essentials := 0
	for _, c := range f.Containers {
		if !c.Essential {
			continue
		}
		essentials++
		if at, ok := f.completed(c); ok {
			completions = append(completions, end{at, fmt.Sprintf("Essential container %q completed with exit code 0", c.Name)})
		} else if f.failedForGood(c) {
			failures = append(failures, end{c.Exit.At, fmt.Sprintf("Essential container %q failed with exit code %d", c.Name, c.Exit.Code)})
		}
	}
	byTime := func(a, b end) int { return a.at - b.at }
	inSecond := func(ends []end, at int) (sentences []string) {
		for _, e := range ends {
			if e.at == at {
				sentences = append(sentences, e.sentence)
			}
		}
		return sentences
	}
	completedAt, completed := 0, false
	switch {
	case f.All && len(completions) == essentials && essentials > 0:
		completedAt, completed = slices.MaxFunc(completions, byTime).at, true
	case !f.All && len(completions) > 0:
		completedAt, completed = slices.MinFunc(completions, byTime).at, true
	}
	failedAt := 0
	if len(failures) > 0 {
		failedAt = slices.MinFunc(failures, byTime).at
	}
	switch {
	case completed && (!f.Stop || len(failures) == 0 || completedAt <= failedAt):
		return Outcome{Phase: "Succeeded", By: inSecond(completions, completedAt)}
	case f.Stop && len(failures) > 0:
		return Outcome{Phase: "Failed", By: inSecond(failures, failedAt)}
	case f.All && len(failures) > 0, essentials > 0 && len(failures) == essentials:
		return Outcome{FailureIgnored: true, By: inSecond(failures, failedAt)}
	}
	return Outcome{}
}

// completed is the table of section 5, row by row.
func (f *Facts) completed(c Container) (at int, ok bool) {
	var exits []Exit
	switch {
	case c.Unreported, c.ruledToRestart(0):
		return 0, false // a rule that restarts the container, or all, after exit 0
	case f.policyOf(c) == "Always":
		if c.Before != nil {
			exits = append(exits, *c.Before)
		}
		if c.State == Exited {
			exits = append(exits, c.Exit)
		}
	case c.State == Exited:
		exits = append(exits, c.Exit) // exit 0 only in lastState: the kubelet killed it
	}
	for _, exit := range exits {
		if exit.Code == 0 && f.undisturbed(exit) && (f.RestartedAll == nil || exit.At < *f.RestartedAll) {
			if !ok || exit.At < at {
				at, ok = exit.At, true
			}
		}
	}
	return at, ok
}

// failedForGood is section 2: another exit code, and no restart.
func (f *Facts) failedForGood(c Container) bool {
	return !c.Unreported && c.State == Exited && c.Exit.Code != 0 && f.undisturbed(c.Exit) &&
		f.RestartedAll == nil && f.policyOf(c) == "Never" && !c.ruledToRestart(c.Exit.Code)
}

func (f *Facts) policyOf(c Container) string {
	for _, policy := range []string{c.Policy, f.RestartPolicy} {
		if policy != "" {
			return policy
		}
	}
	return "Always"
}

// ruledToRestart is the documentation of restartPolicyRules: the first rule that
// matches counts; they need a policy of the container's own.
func (c Container) ruledToRestart(code int32) bool {
	if c.Policy == "" {
		return false
	}
	i := slices.IndexFunc(c.Rules, func(r Rule) bool { return slices.Contains(r.Codes, code) == r.In })
	return i >= 0 && (c.Rules[i].Action == "Restart" || c.Rules[i].Action == "RestartAllContainers")
}

// undisturbed is the point 1: an end counts if it came before what ended
// the pod from outside began.
func (f *Facts) undisturbed(exit Exit) bool {
	if f.Deleted != nil && exit.At >= *f.Deleted || f.Deadline != nil && exit.At >= *f.Deadline {
		return false
	}
	return f.Disrupted == "" || exit.At < f.DisruptAt
}

// endedByKubelet: node pressure, shutdown or preemption by the kubelet, which
// dates its condition when all containers have ended.
func (f *Facts) endedByKubelet() bool {
	return f.Disrupted == "TerminationByKubelet" || f.Reason != "" && f.Reason != "DeadlineExceeded"
}

// Phase is the part of a status that the verdict decides.
type Phase struct{ Phase, Reason, Message string }

// Verdict is design, section 6, point 2: what the phase is after the kubelet has
// written this over that. The messages that are right are those of by; none: the
// one that is returned.
func (f *Facts) Verdict(stored, written Phase, labelled bool) (after Phase, by []string) {
	const reason = "EssentialContainerFailed"
	switch outcome := f.Outcome(); {
	case written.Phase != "Failed", !labelled:
		return written, nil
	case stored.Phase == "Succeeded", stored.Phase == "Failed" && stored.Reason == reason:
		return stored, nil
	case stored.Phase == "Failed":
		return written, nil // it was Failed before
	case outcome.Phase == "Succeeded":
		return Phase{Phase: "Succeeded"}, nil
	case outcome.Phase == "Failed" && f.Stopped != "":
		return Phase{Phase: "Failed", Reason: reason}, outcome.By
	}
	return written, nil
}
