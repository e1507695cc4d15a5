"""`[webhooks]`."""

from pydantic import Field

from connectors.base.settings import Settings


class WebhookSettings(Settings):
    """`[webhooks]`: where the server listens and what it lets in."""

    host: str = Field(default="127.0.0.1", description="The address to listen on; TLS ends at the proxy before it")
    port: int = Field(default=9465, ge=0, le=65_535, description="0: any free port")
    max_body_bytes: int = Field(default=1_048_576, ge=1, le=8_388_608, description="A larger delivery is answered 413")
    read_timeout_s: float = Field(default=2, gt=0, le=60, description="For the headers, and again for the body")
    answer_timeout_s: float = Field(
        default=2.5, gt=0, le=60, description="For the broker; with reading it stays below the 5 s that Shopify waits"
    )
    retry_after_s: int = Field(default=5, ge=1, le=3600, description="What a vendor is asked to wait after a 503")
    max_under_way: int = Field(default=64, ge=1, le=10_000, description="Deliveries at a time; more are answered 503")
