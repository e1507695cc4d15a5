"""What every connector promises, as a pytest plugin: run it on a `Source` of your own.

    from lab.conformance.case import ConformanceCase
    from lab.conformance.suite import ConnectorConformance

    class TestMyConnector(ConnectorConformance):
        case = ConformanceCase(settings_model=MySettings, source=MySource, settings={...}, facts=frozenset({...}), ...)

A case is a vendor's system with a handful of records in it, and what one run over it comes to. The plugin is found by
pytest where `b1-streams-lab[conformance]` is installed; `streams connect new NAME` writes a first case.
"""
