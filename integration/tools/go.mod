module github.com/pgbaton/pgbaton/integration/tools

go 1.26

require (
	github.com/hashicorp/consul v1.22.7
	github.com/hashicorp/consul/api v1.34.4
)
