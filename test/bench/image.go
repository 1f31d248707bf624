package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
)

// imageSize reads an archive as `docker save` makes it: unpacked is the size of
// all files of all layers, compressed that of the layers under gzip.
func imageSize(archive string) (unpacked, compressed int64, err error) {
	var layers []string
	err = eachFile(archive, func(header *tar.Header, content io.Reader) error {
		if header.Name != "manifest.json" {
			return nil
		}
		var images []struct{ Layers []string }
		if err := json.NewDecoder(content).Decode(&images); err != nil {
			return err
		}
		if len(images) != 1 {
			return fmt.Errorf("it holds %d images", len(images))
		}
		layers = images[0].Layers
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	if len(layers) == 0 {
		return 0, 0, errors.New("it names no layers")
	}
	found := 0
	err = eachFile(archive, func(header *tar.Header, content io.Reader) error {
		if header.Typeflag != tar.TypeReg || !slices.Contains(layers, path.Clean(header.Name)) {
			return nil
		}
		found++
		var size counter
		zip := gzip.NewWriter(&size)
		if err := eachEntry(io.TeeReader(content, zip), func(header *tar.Header, _ io.Reader) error {
			unpacked += header.Size
			return nil
		}); err != nil {
			return err
		}
		err := zip.Close()
		compressed += int64(size)
		return err
	})
	if err == nil && found != len(layers) {
		err = fmt.Errorf("it has %d of its %d layers", found, len(layers))
	}
	return unpacked, compressed, err
}

func eachFile(archive string, do func(*tar.Header, io.Reader) error) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	return eachEntry(file, do)
}

// eachEntry reads the archive to its end, padding included.
func eachEntry(archive io.Reader, do func(*tar.Header, io.Reader) error) error {
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, archive)
			return err
		}
		if err != nil {
			return err
		}
		if err := do(header, reader); err != nil {
			return err
		}
	}
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
