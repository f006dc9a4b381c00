"""Pages of commerce; an item's id may hold any character, slashes too."""

from django.urls import path

from domains.commerce import views

urlpatterns = [
    path("", views.storefront_page, name="storefront"),
    path("for-you/", views.for_you, name="for-you"),
    path("clicks/", views.click, name="click"),
    path("items/<path:key>/", views.item_page, name="item"),
]
