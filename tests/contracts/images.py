"""
What every repository of images does.
"""

from __future__ import annotations

from tests.contracts.changes import ImageChangesContract
from tests.contracts.listing import ImageFiltersContract
from tests.contracts.paging import ImagePagesContract
from tests.contracts.records import ImageRecordsContract
from tests.contracts.uploading import ImageUploadsContract
from tests.contracts.usage import StorageUsedContract
from tests.contracts.visibility import ImageVisibilityContract


class ImageRepositoryContract(
    ImageRecordsContract,
    ImageChangesContract,
    ImageUploadsContract,
    ImageVisibilityContract,
    ImageFiltersContract,
    ImagePagesContract,
    StorageUsedContract,
):
    """
    The contract of `IImageRepository`, for a `twisted.trial.unittest.TestCase`.
    """
