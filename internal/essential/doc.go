// Package essential has the logic that the webhook and the reaper share: it parses
// the label and the policies, reads what the reaper has recorded, and decides the
// outcome of a pod. It does no I/O. Package api has the keys.
package essential
