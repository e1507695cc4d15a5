"""The outside world: vendors, HTTP, files, cursors. Knows `schemas`; has never heard of Faust."""
