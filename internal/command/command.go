// Package command is what the mains of both programs have in common: flags,
// help, version, signals, logging, and one error at the end.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

const profileFlag = "pprof-addr"

// Command is a program that runs until it is told to end.
type Command struct {
	Name    string
	Purpose string // one sentence, the beginning of the help
	Version string

	Bind     func(*flag.FlagSet)         // adds the program's own flags
	Validate func() error                // names the first flag whose value is wrong
	Run      func(context.Context) error // ends when its context does; has the logger there
}

// Main is [Main] of the command.
func (c Command) Main() {
	Main(c.Name, c.Execute)
}

// Execute parses the arguments and runs the command, or prints what they ask
// for to stdout. Logs go to standard error.
func (c Command) Execute(ctx context.Context, args []string, stdout io.Writer) error {
	var logging zap.Options
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	profiles := flags.String(profileFlag, "", "`address` on which Go's profiles are served below /debug/pprof/, over HTTP; empty: nowhere")
	showVersion := flags.Bool("version", false, "print the version and exit")
	c.Bind(flags)
	logging.BindFlags(flags)
	// By default an error is its message: where a library noticed it helps nobody at night.
	if err := flags.Set("zap-stacktrace-level", "panic"); err != nil {
		return err
	}

	if err := Parse(flags, args, c.Purpose, stdout); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if *showVersion {
		_, err := fmt.Fprintln(stdout, c.Version)
		return err
	}
	if err := c.Validate(); err != nil {
		return err
	}
	logger := zap.New(zap.UseFlagOptions(&logging))
	log.SetLogger(logger) // for the libraries that do not take it from the context
	logger.Info("Starting", "program", c.Name, "version", c.Version)
	if err := limitMemory(); err != nil {
		return err
	}
	if *profiles != "" {
		server, err := serveProfiles(*profiles, logger)
		if err != nil {
			return err
		}
		defer func() { _ = server.Close() }()
	}
	return c.Run(logr.NewContext(ctx, logger))
}
