// Takes fields out of JSON records and drops health checks.
package main

import (
	"encoding/json"
	"errors"
)

type example struct {
	Remove []string `json:"remove"`
}

func configure(config []byte) (example, error) {
	var made example
	if err := json.Unmarshal(config, &made); err != nil {
		return made, errors.New("`remove` must be a list of names")
	}
	return made, nil
}

func transform(made example, record Record) Outcome {
	var event map[string]json.RawMessage
	if err := json.Unmarshal(record.Data, &event); err != nil || event == nil {
		return Failed("the record is not a JSON object")
	}
	kind := "none"
	if raw, ok := event["type"]; ok {
		if err := json.Unmarshal(raw, &kind); err != nil {
			kind = "none"
		}
	}
	if kind == "health_check" {
		return Dropped()
	}
	for _, name := range made.Remove {
		delete(event, name)
	}
	data, err := json.Marshal(event)
	if err != nil {
		return Failed(err.Error())
	}
	return Changed(Output{Data: data, Keys: map[string]string{"type": kind}})
}

func main() {
	Run(configure, transform)
}
