package main

import "testing"

func TestANumberInText(t *testing.T) {
	const text = "# HELP a_b x\na_b_more 1\na_b 2.5e+06\n# HeapAlloc = 77\n"
	if got, err := numberIn(text, `a_b (\S+)`); err != nil || got != 2.5e6 {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := numberIn(text, `# HeapAlloc = (\d+)`); err != nil || got != 77 {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := numberIn(text, `a (\S+)`); err == nil {
		t.Errorf("got %v of a metric that is not there", got)
	}
}
