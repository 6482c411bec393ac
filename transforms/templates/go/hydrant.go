package main

// The lines of hydrant's stdio mode: a batch on standard input, the answer on standard output.

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Record is one record of a batch.
type Record struct {
	ID                          int    `json:"id"`
	Data                        []byte `json:"data"`
	PartitionKey                string `json:"partitionKey"`
	SequenceNumber              string `json:"sequenceNumber"`
	ApproximateArrivalTimestamp int64  `json:"approximateArrivalTimestamp"`
}

// Output is one output of a record, and where it goes.
type Output struct {
	Data   []byte
	Keys   map[string]string
	Target string
}

// Outcome is what becomes of a record; the functions below make it.
type Outcome struct {
	result  string
	message string
	outputs []Output
}

// Unchanged leaves the record as it came.
func Unchanged() Outcome { return Outcome{result: "Unchanged", outputs: []Output{{}}} }

// Changed puts one output into the record's place.
func Changed(output Output) Outcome { return Outcome{result: "Ok", outputs: []Output{output}} }

// Split puts several outputs into the record's place.
func Split(outputs []Output) Outcome {
	if len(outputs) == 0 {
		return Dropped()
	}
	return Outcome{result: "Ok", outputs: outputs}
}

// Dropped gives no output, on purpose.
func Dropped() Outcome { return Outcome{result: "Dropped", outputs: []Output{{}}} }

// Failed sends the record to the error output with this message.
func Failed(message string) Outcome {
	return Outcome{result: "ProcessingFailed", message: message, outputs: []Output{{}}}
}

type line struct {
	ID            int               `json:"id"`
	Result        string            `json:"result"`
	Data          *[]byte           `json:"data,omitempty"`
	Message       string            `json:"message,omitempty"`
	PartitionKeys map[string]string `json:"partitionKeys,omitempty"`
	Target        string            `json:"target,omitempty"`
}

// Run asks `each` for every record of the batch. An error of `configure` refuses the configuration.
func Run[T any](configure func(config []byte) (T, error), each func(made T, record Record) Outcome) {
	config := []byte("{}")
	if len(os.Args) > 1 {
		config = []byte(os.Args[1])
	}
	made, err := configure(config)
	if err != nil {
		fatal(err)
	}
	in := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<16))
	buffer := bufio.NewWriterSize(os.Stdout, 1<<16)
	out := json.NewEncoder(buffer)
	for {
		var record Record
		if err := in.Decode(&record); err == io.EOF {
			break
		} else if err != nil {
			fatal(err)
		}
		if record.Data == nil {
			record.Data = []byte{}
		}
		if err := answer(out, record.ID, each(made, record)); err != nil {
			fatal(err)
		}
	}
	if err := buffer.Flush(); err != nil {
		fatal(err)
	}
}

func answer(out *json.Encoder, id int, outcome Outcome) error {
	for _, output := range outcome.outputs {
		next := line{ID: id, Result: outcome.result, Message: outcome.message,
			PartitionKeys: output.Keys, Target: output.Target}
		if outcome.result == "Ok" {
			data := output.Data
			if data == nil {
				data = []byte{}
			}
			next.Data = &data
		}
		if err := out.Encode(next); err != nil {
			return err
		}
	}
	return nil
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
