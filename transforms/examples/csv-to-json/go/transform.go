// Makes JSON objects of lines of CSV.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

type config struct {
	Header    []string          `json:"header"`
	Separator string            `json:"separator"`
	Types     map[string]string `json:"types"`
	separator rune
}

func configure(text []byte) (config, error) {
	made := config{Separator: ","}
	if err := json.Unmarshal(text, &made); err != nil {
		return made, err
	}
	if len(made.Header) == 0 {
		return made, errors.New("`header`: name at least one column")
	}
	for name, kind := range made.Types {
		if !slices.Contains(made.Header, name) {
			return made, fmt.Errorf("`types`: there is no column `%s`", name)
		}
		if _, err := typed(kind, "1"); err != nil && kind != "bool" {
			return made, fmt.Errorf("`types` of `%s`: `%s` is no type", name, kind)
		}
	}
	first, size := utf8.DecodeRuneInString(made.Separator)
	if size == 0 || size != len(made.Separator) {
		return made, errors.New("`separator` must be one character")
	}
	made.separator = first
	return made, nil
}

func transform(made config, record Record) Outcome {
	if !utf8.Valid(record.Data) {
		return Failed("the line is not UTF-8")
	}
	values, err := split(strings.TrimRight(string(record.Data), "\r"), made.separator)
	if err != nil {
		return Failed(err.Error())
	}
	if len(values) != len(made.Header) {
		return Failed(fmt.Sprintf("the line has %d columns, the header %d", len(values), len(made.Header)))
	}
	// Written by hand, so that the members stand in the order of the columns.
	var object bytes.Buffer
	object.WriteByte('{')
	for i, name := range made.Header {
		value, err := typed(made.Types[name], values[i])
		if err != nil {
			return Failed(fmt.Sprintf("column `%s`: %s", name, err))
		}
		if i > 0 {
			object.WriteByte(',')
		}
		for j, part := range []any{name, value} {
			text, err := json.Marshal(part)
			if err != nil {
				return Failed(err.Error())
			}
			if j > 0 {
				object.WriteByte(':')
			}
			object.Write(text)
		}
	}
	object.WriteByte('}')
	return Changed(Output{Data: object.Bytes()})
}

// The values of a line, as RFC 4180 quotes them. A quote inside a value that is not quoted is a
// character as any other.
func split(line string, separator rune) ([]string, error) {
	var values []string
	var value strings.Builder
	characters, quoted := []rune(line), false
	for i := 0; i < len(characters); i++ {
		switch character := characters[i]; {
		case character == '"' && quoted && i+1 < len(characters) && characters[i+1] == '"':
			value.WriteRune('"')
			i++
		case character == '"' && quoted:
			quoted = false
		case character == '"' && value.Len() == 0:
			quoted = true
		case character == separator && !quoted:
			values = append(values, value.String())
			value.Reset()
		default:
			value.WriteRune(character)
		}
	}
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	return append(values, value.String()), nil
}

func typed(kind, text string) (any, error) {
	if kind == "" || kind == "string" {
		return text, nil
	}
	if text == "" {
		return nil, nil
	}
	switch kind {
	case "int":
		if number, err := strconv.ParseInt(text, 10, 64); err == nil {
			return number, nil
		}
		return nil, fmt.Errorf("`%s` is not an int", text)
	case "float":
		if number, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(number, 0) && !math.IsNaN(number) {
			return number, nil
		}
		return nil, fmt.Errorf("`%s` is not a float", text)
	case "bool":
		if text == "true" || text == "false" {
			return text == "true", nil
		}
		return nil, fmt.Errorf("`%s` is not a bool", text)
	}
	return nil, fmt.Errorf("`%s` is no type", kind)
}

func main() {
	Run(configure, transform)
}
