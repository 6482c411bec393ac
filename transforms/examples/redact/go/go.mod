module redact

go 1.21
