package command

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/go-logr/logr"
)

// testOptions have a flag of their own, and this error of validation.
type testOptions struct {
	size    int
	invalid error
}

func (o *testOptions) BindFlags(fs *flag.FlagSet) {
	fs.IntVar(&o.size, "size", 1, "`number` of things")
}
func (o *testOptions) Validate() error { return o.invalid }

// execute runs the program with one subcommand, "test", and these arguments.
func execute(ctx context.Context, stdout io.Writer, options Options, run func(context.Context) error, args ...string) error {
	root := Root("v1.2.3", New("test", "Test is a test.", options, run))
	root.SetArgs(args)
	root.SetOut(stdout)
	return root.ExecuteContext(ctx)
}

func TestExecute(t *testing.T) {
	invalid, broken := errors.New("--size: too small"), errors.New("no API server")
	for sentence, c := range map[string]struct {
		args     []string
		validate error
		run      error
		fails    string // in the error
		prints   string
		ran      bool
	}{
		"the command runs and ends":               {args: []string{"test", "--size=3"}, ran: true},
		"its error is the program's":              {args: []string{"test", "--size=3"}, run: broken, fails: "no API server", ran: true},
		"a value that is not valid keeps it from": {args: []string{"test"}, validate: invalid, fails: "--size: too small"},
		"help does too, and lists the flags":      {args: []string{"test", "-h"}, prints: "--size number"},
		"the version":                             {args: []string{"version"}, prints: "v1.2.3\n"},
		"the program alone lists its subcommands": {prints: "Test is a test."},
		"another subcommand":                      {args: []string{"prove"}, fails: `unknown command "prove" for "essential-containers"`},
		"an unknown flag":                         {args: []string{"test", "--sise=3"}, fails: "unknown flag: --sise"},
	} {
		t.Run(sentence, func(t *testing.T) {
			ran := false
			options := &testOptions{invalid: c.validate}
			var stdout strings.Builder
			err := execute(t.Context(), &stdout, options, func(ctx context.Context) error {
				_, noLogger := logr.FromContext(ctx)
				ran = options.size == 3
				return errors.Join(c.run, noLogger)
			}, c.args...)
			if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) || ran != c.ran {
				t.Errorf("error %v, ran %t, want %q, %t", err, ran, c.fails, c.ran)
			}
			if !strings.Contains(stdout.String(), c.prints) || c.prints == "" && stdout.Len() > 0 {
				t.Errorf("printed %q, want %q", stdout.String(), c.prints)
			}
		})
	}
}

func TestAnErrorIsLoggedWithoutItsStack(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = write
	defer func() { os.Stderr = stderr }()
	err = execute(t.Context(), io.Discard, &testOptions{}, func(ctx context.Context) error {
		logr.FromContextOrDiscard(ctx).Error(errors.New("it rained"), "Could not go out")
		return nil
	}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	logged, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(logged); !strings.Contains(text, "it rained") || strings.Contains(text, "stacktrace") || !strings.Contains(text, `"version":"v1.2.3"`) {
		t.Errorf("logged %s", text)
	}
}
