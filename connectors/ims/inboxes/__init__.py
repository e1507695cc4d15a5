"""Where the files lie: a folder, an SFTP server, an HTTPS server, or nowhere. One interface, one module each."""

from connectors.ims.address import InboxAddress
from connectors.ims.inboxes.folder import FolderInbox
from connectors.ims.inboxes.https import HttpsInbox
from connectors.ims.inboxes.inbox import Inbox, NoInbox
from connectors.ims.inboxes.sftp import SftpInbox
from connectors.ims.settings import ImsSettings

__all__ = ["FolderInbox", "HttpsInbox", "Inbox", "NoInbox", "SftpInbox", "open_inbox"]


def open_inbox(settings: ImsSettings) -> Inbox:
    """The inbox that the settings name; nothing is connected or looked at yet."""
    match settings.inbox:
        case InboxAddress(scheme="sftp") as address:
            return SftpInbox(address, settings)
        case InboxAddress() as address:
            return HttpsInbox(address, settings)
        case None:
            return NoInbox()
        case folder:
            return FolderInbox(folder)
