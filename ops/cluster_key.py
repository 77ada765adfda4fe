"""What programs of their own prove to one another: that they belong together. By the cluster key, certificates, or both."""

from pathlib import Path

from ops.data_folder import CLUSTER_KEY_FILE
from ops.settings import AllSettings
from push_core.errors import ConfigError


def with_cluster_key(settings: AllSettings, data: Path) -> AllSettings:
    """The settings with the key that `data` keeps, if they name none themselves. Raises ConfigError when there is neither a key nor
    certificates: a key made up here would be one that no other program knows."""
    stores = settings.stores
    if stores.cluster_key or (stores.cluster_key is None and stores.rpc_cert is not None):
        return settings
    path = data / CLUSTER_KEY_FILE
    try:
        key = path.read_text().strip()
    except FileNotFoundError:
        key = ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    if key:
        return settings.with_cluster_key(key)
    raise ConfigError(
        "[stores] cluster_key: not set, and programs of their own must all show the same one: put one line of your choice (say, of "
        f"`openssl rand -hex 32`) into TACO_STORES_CLUSTER_KEY or {path}, the same for all; or set rpc_cert, rpc_key and rpc_ca"
    )
