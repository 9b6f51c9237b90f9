from submeter.relay.process import main

raise SystemExit(main())
