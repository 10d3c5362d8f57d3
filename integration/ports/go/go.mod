module touchstone/port-go

go 1.19
