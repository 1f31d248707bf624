package main

import "testing"

func TestNamed(t *testing.T) {
	for _, name := range []string{"webhook", "reaper"} {
		if program, err := named(name); err != nil || program.Name != name || program.Version != version {
			t.Errorf("%s is %s, version %s, error %v", name, program.Name, program.Version, err)
		}
	}
	if program, err := named("essential-containers"); err == nil {
		t.Errorf("the file's own name is %s", program.Name)
	}
}
