// Makes JSON objects of the lines that Apache and nginx write.
package main

import (
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const quoted = `"((?:[^"\\]|\\.)*)"`

var (
	format = regexp.MustCompile(`^(\S+) \S+ (\S+) \[([^\]]+)\] "([^" ]+) ([^" ]+) ([^" ]+)" (\d{3}) (\d+|-)(?: ` +
		quoted + ` ` + quoted + `)?\r?$`)
	escaped = regexp.MustCompile(`\\(["\\])`)
)

type entry struct {
	Remote   string  `json:"remote"`
	User     *string `json:"user"`
	Time     string  `json:"time"`
	Method   string  `json:"method"`
	Path     string  `json:"path"`
	Protocol string  `json:"protocol"`
	Status   int     `json:"status"`
	Bytes    *int64  `json:"bytes"`
	Referer  *string `json:"referer"`
	Agent    *string `json:"agent"`
}

func configure(config []byte) (struct{}, error) {
	if strings.TrimSpace(string(config)) != "{}" {
		return struct{}{}, errors.New("this transform has no configuration")
	}
	return struct{}{}, nil
}

func transform(_ struct{}, record Record) Outcome {
	none := Failed("this is no line of the common or combined log format")
	parts := format.FindSubmatch(record.Data)
	if parts == nil {
		return none
	}
	at, err := time.Parse("02/Jan/2006:15:04:05 -0700", string(parts[3]))
	if err != nil {
		return none
	}
	status, _ := strconv.Atoi(string(parts[7]))
	made := entry{
		Remote: string(parts[1]), User: plain(parts[2]), Time: at.Format("2006-01-02T15:04:05-07:00"),
		Method: string(parts[4]), Path: string(parts[5]), Protocol: string(parts[6]), Status: status,
		Referer: plain(parts[9]), Agent: plain(parts[10]),
	}
	if bytes, err := strconv.ParseInt(string(parts[8]), 10, 64); err == nil {
		made.Bytes = &bytes
	}
	data, err := json.Marshal(made)
	if err != nil {
		return Failed(err.Error())
	}
	return Changed(Output{Data: data})
}

// plain takes `-` for none, and a backslash before a quote or a backslash away.
func plain(value []byte) *string {
	if value == nil || string(value) == "-" {
		return nil
	}
	text := string(escaped.ReplaceAll(value, []byte("$1")))
	return &text
}

func main() {
	Run(configure, transform)
}
