module github.com/essential-containers/essential-containers/test/cluster/parts/pause

go 1.26.0
