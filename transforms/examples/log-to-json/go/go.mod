module log-to-json

go 1.21
