module github.com/fedhelm/fedhelm/scripts/tools/pause

go 1.26.0
