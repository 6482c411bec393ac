// Replaces the values at dotted paths of JSON records.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

const redacted = "[redacted]"

func configure(config []byte) ([][]string, error) {
	var read struct {
		Fields []string `json:"fields"`
	}
	if err := json.Unmarshal(config, &read); err != nil {
		return nil, err
	}
	if len(read.Fields) == 0 {
		return nil, errors.New("`fields`: name at least one field")
	}
	var paths [][]string
	for _, field := range read.Fields {
		paths = append(paths, strings.Split(field, "."))
	}
	return paths, nil
}

func transform(paths [][]string, record Record) Outcome {
	var event map[string]any
	decoder := json.NewDecoder(bytes.NewReader(record.Data))
	// Numbers stay as they are written.
	decoder.UseNumber()
	if err := decoder.Decode(&event); err != nil || event == nil || decoder.More() {
		return Failed("the record is not a JSON object")
	}
	for _, path := range paths {
		redact(event, path)
	}
	data, err := json.Marshal(event)
	if err != nil {
		return Failed(err.Error())
	}
	return Changed(Output{Data: data})
}

func redact(value any, path []string) {
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			redact(item, path)
		}
	case map[string]any:
		inner, found := value[path[0]]
		if !found {
			return
		}
		if len(path) == 1 {
			value[path[0]] = redacted
		} else {
			redact(inner, path[1:])
		}
	}
}

func main() {
	Run(configure, transform)
}
