from submeter.translate.process import main

raise SystemExit(main())
