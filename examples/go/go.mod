module fixedrate

go 1.21

require linkcast v0.0.0

replace linkcast => ../../bindings/go
