from submeter.meter.process import main

raise SystemExit(main())
