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

func TestExecute(t *testing.T) {
	invalid, broken := errors.New("--size: too small"), errors.New("no API server")
	for sentence, c := range map[string]struct {
		args     []string
		validate error
		run      error
		want     error
		ran      bool
	}{
		"the command runs and ends":               {ran: true},
		"its error is the command's":              {run: broken, want: broken, ran: true},
		"a value that is not valid keeps it from": {validate: invalid, want: invalid},
		"help does too":                           {args: []string{"-h"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			ran := false
			err := Command{
				Name: "test", Bind: func(*flag.FlagSet) {},
				Validate: func() error { return c.validate },
				Run: func(ctx context.Context) error {
					_, noLogger := logr.FromContext(ctx)
					ran = true
					return errors.Join(c.run, noLogger)
				},
			}.Execute(t.Context(), c.args, io.Discard)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || ran != c.ran {
				t.Errorf("error %v, ran %t, want %v, %t", err, ran, c.want, c.ran)
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
	command := Command{
		Name: "test", Bind: func(*flag.FlagSet) {}, Validate: func() error { return nil },
		Run: func(ctx context.Context) error {
			logr.FromContextOrDiscard(ctx).Error(errors.New("it rained"), "Could not go out")
			return nil
		},
	}
	if err := command.Execute(t.Context(), nil, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	logged, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(logged); !strings.Contains(text, "it rained") || strings.Contains(text, "stacktrace") {
		t.Errorf("logged %s", text)
	}
}
