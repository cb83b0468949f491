module linkcast

go 1.21
