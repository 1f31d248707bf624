package kube

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// ReadAudit calls entry for each entry of an API server's audit log. A server that
// was killed may have left half a line, which is skipped.
func ReadAudit(r io.Reader, entry func(*auditv1.Event)) error {
	reader := bufio.NewReaderSize(r, 1<<20)
	for {
		text, err := reader.ReadBytes('\n')
		if e := new(auditv1.Event); json.Unmarshal(text, e) == nil {
			entry(e)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading the audit log: %w", err)
		}
	}
}
