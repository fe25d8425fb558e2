"""What stands between recommender and people: lists, slates, histories, retraining."""
