package main

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func tarOf(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestImageSize(t *testing.T) {
	const size = 1 << 20
	noise := make([]byte, size)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	for sentence, c := range map[string]struct {
		files                       map[string]string
		unpacked, smallest, largest int64
		err                         string
	}{
		"a layer that cannot be compressed": {
			files:    map[string]string{"manifest.json": `[{"Layers":["a.tar"]}]`, "a.tar": tarOf(t, map[string]string{"program": string(noise), "empty": ""}), "b.tar": "of no image"},
			unpacked: size, smallest: size, largest: size + size/100,
		},
		"two layers, one of which nearly vanishes": {
			files: map[string]string{
				"manifest.json": `[{"Layers":["x/a.tar","b.tar"]}]`,
				"x/a.tar":       tarOf(t, map[string]string{"program": string(noise)}), "b.tar": tarOf(t, map[string]string{"zeroes": strings.Repeat("0", size)}),
			},
			unpacked: 2 * size, smallest: size, largest: size + size/50,
		},
		"a layer is missing":          {files: map[string]string{"manifest.json": `[{"Layers":["a.tar"]}]`}, err: "it has 0 of its 1 layers"},
		"several images":              {files: map[string]string{"manifest.json": `[{},{}]`}, err: "it holds 2 images"},
		"an archive of anything else": {files: map[string]string{"program": "x"}, err: "it names no layers"},
	} {
		t.Run(sentence, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "image.tar")
			if err := os.WriteFile(archive, []byte(tarOf(t, c.files)), 0o600); err != nil {
				t.Fatal(err)
			}
			unpacked, compressed, err := imageSize(archive)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("got %v, want %s", err, c.err)
				}
				return
			}
			if err != nil || unpacked != c.unpacked || compressed < c.smallest || compressed > c.largest {
				t.Errorf("unpacked %d, compressed %d, %v", unpacked, compressed, err)
			}
		})
	}
	if _, _, err := imageSize("no such file"); err == nil {
		t.Error("the size of a file that is not there")
	}
}
